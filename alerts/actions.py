"""What a person does about an incident: acknowledge it, mute its key. Each door calls these."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from alerts.models import WAITING, Incident, IncidentEvent, Mute, Notice
from common import clock
from common.errors import UsageError
from common.terminal import is_one_line

LONGEST_MUTE = timedelta(days=366)


def find_open(pk: int) -> Incident:
    """The incident, locked; in a transaction. Raises UsageError unless it is open."""
    found = Incident.objects.select_for_update(no_key=True).filter(pk=pk).first()
    if found is None:
        raise UsageError(f"there is no incident {pk}: alert_list shows them")
    if not found.is_open:
        raise UsageError(f"incident {pk} is resolved: nothing is left to be done about it")
    return found


@transaction.atomic
def acknowledge(pk: int, actor: str, until: datetime | None = None) -> Incident:
    """Take an incident up: no reminder is sent any longer, or until then.

    Raises UsageError for a time that is past and for an incident that is not open.
    """
    incident, now = find_open(pk), clock.database_now()
    if until is not None and until <= now:
        raise UsageError("the end of the acknowledgement must be in the future")
    incident.acknowledged_at, incident.acknowledged_by = now, actor
    incident.acknowledged_until = until
    incident.save(update_fields=["acknowledged_at", "acknowledged_by", "acknowledged_until"])
    text = f"until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    IncidentEvent.objects.create(
        incident=incident, at=now, kind="acknowledged", actor=actor, text=text
    )
    return incident


@transaction.atomic
def mute(pk: int, actor: str, until: datetime, reason: str) -> Incident:
    """Send nothing about an incident's key until then, whatever becomes of it.

    What waits to be sent about it is dropped; if nothing was sent before, it is reported when the
    mute has ended and it is still there. Raises UsageError without a reason, for a time that is
    past or more than a year away, and for an incident that is not open.
    """
    incident, now = find_open(pk), clock.database_now()
    reason = " ".join(reason.split())[:255]
    if not reason:
        raise UsageError("a mute needs a reason: it is shown to others")
    if not is_one_line(reason):
        raise UsageError("the reason must be one line without control characters")
    if until <= now:
        raise UsageError("the end of the mute must be in the future")
    if until - now > LONGEST_MUTE:
        raise UsageError("a mute ends within a year: enter an earlier time")
    Mute.objects.update_or_create(
        key=incident.key, defaults={"until": until, "reason": reason, "by": actor, "at": now}
    )
    Notice.objects.filter(WAITING, incident__key=incident.key).update(dropped_at=now)
    if not Notice.objects.filter(incident=incident, delivery__isnull=False).exists():
        incident.reported = None
        incident.save(update_fields=["reported"])
    text = f"until {until:%Y-%m-%d %H:%M} UTC: {reason}"
    IncidentEvent.objects.create(incident=incident, at=now, kind="muted", actor=actor, text=text)
    return incident


@transaction.atomic
def unmute(pk: int, actor: str) -> Incident:
    """End a mute now. Raises UsageError if there is none."""
    incident, now = find_open(pk), clock.database_now()
    if not Mute.objects.filter(key=incident.key, until__gt=now).update(until=now):
        raise UsageError(f"incident {pk} is not muted")
    IncidentEvent.objects.create(incident=incident, at=now, kind="unmuted", actor=actor)
    return incident
