"""Sends what channels are to get: at least once, and with the same id each time.

Two steps, each of which any process takes, also several at once: notices that wait are gathered
into a delivery, and deliveries that are due are sent. A delivery is claimed in a transaction that
ends before it is sent, so that no lock waits for another's server; who dies in between leaves a
claim that runs out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from django.db import DatabaseError, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce

from alerts import messages, quiet_hours
from alerts.channels import registry
from alerts.channels.result import Result
from alerts.models import (
    UNSENT,
    WAITING,
    Channel,
    Content,
    Delivery,
    IncidentEvent,
    Level,
    Mute,
    Notice,
    NoticeKind,
)
from common import clock

logger = logging.getLogger("rainbo.alerts")

GROUP_WAIT = timedelta(seconds=30)
GROUP_INTERVAL = timedelta(minutes=5)
CLAIM = timedelta(seconds=90)  # longer than any channel takes to answer
BUDGET = 20.0  # seconds that sending may take, before others get their turn
SHORT_BUDGET = 5.0  # of a process that has something else to do
CLAIMED = ("content", "attempts", "claimed_until", "tried_at", "maybe_arrived")


URGENT = Q(incident__level=Level.URGENT) & ~Q(kind=NoticeKind.RESOLVED)


@dataclass(frozen=True)
class Flush:
    """How many deliveries were sent, and how many attempts failed."""

    sent: int = 0
    failed: int = 0


def flush() -> Flush:
    """Gather what waits and send what is due, until all is sent or the time is used up."""
    return _flush(BUDGET)


def flush_if_urgent() -> Flush:
    """The same at once if an urgent notice waits, for less time: not to channels that are failing,
    which may keep this process waiting until they fail again."""
    is_urgent = Notice.objects.filter(WAITING, URGENT, channel__failing_since=None).exists()
    return _flush(SHORT_BUDGET, failing=False) if is_urgent else Flush()


def _flush(budget: float, *, failing: bool = True) -> Flush:
    gather(clock.database_now())
    sent = failed = 0
    until = time.monotonic() + budget
    while time.monotonic() < until:
        now = clock.database_now()
        if (delivery := claim(now, failing=failing)) is None:
            break
        result = registry.send(delivery.channel, str(delivery.pk), delivery.content, now)
        settle(delivery, result, clock.database_now())
        if result.accepted:
            gather(clock.database_now())  # what waited behind it
        sent, failed = sent + result.accepted, failed + (not result.accepted)
    return Flush(sent, failed)


def gather(now: datetime) -> None:
    """Make deliveries of the notices whose time has come."""
    with_waiting = Notice.objects.filter(WAITING).values("channel")
    with transaction.atomic():
        channels = Channel.objects.filter(pk__in=with_waiting).order_by("pk")
        for channel in channels.select_for_update(skip_locked=True, of=("self",), no_key=True):
            try:
                with transaction.atomic():
                    _gather_for(channel, now)
            except DatabaseError:
                raise
            except Exception as error:  # noqa: BLE001 (such as a zone that is no longer known)
                _fail(channel, f"its messages can't be made: {type(error).__name__}", now)


def _fail(channel: Channel, words: str, now: datetime) -> None:
    logger.error("channel %s: %s", channel.name, words, extra={"channel": str(channel.pk)})
    failing = Coalesce("failing_since", now)
    Channel.objects.filter(pk=channel.pk).update(failing_since=failing, last_error=words)


def _gather_for(channel: Channel, now: datetime) -> None:
    """While a message of the channel is unsent, all others wait, and what passes meanwhile is left
    out: an outage ends with two messages, not with all that happened in it."""
    waiting = Notice.objects.filter(WAITING, channel=channel)
    if not channel.is_usable:
        waiting.update(dropped_at=now)
        return
    muted = Mute.objects.filter(until__gt=now).values("key")
    waiting.filter(incident__key__in=muted).update(dropped_at=now)
    notices = list(waiting.select_related("incident").order_by("pk"))
    if unsent := Delivery.objects.filter(UNSENT, channel=channel).order_by("created_at").first():
        _hurry(unsent, notices, now)
        return
    lately = list(
        Delivery.objects.filter(
            channel=channel, created_at__gt=now - timedelta(hours=1), created_at__lte=now
        )
        .order_by("created_at")
        .values_list("created_at", flat=True)
    )
    if not (chosen := choose(channel, notices, lately, now)):
        return
    delivery = Delivery.objects.create(
        channel=channel,
        content=messages.compose(chosen, now, personal_data=channel.personal_data),
        urgent=any(map(is_urgent, chosen)),
        created_at=now,
        not_before=now,
    )
    Notice.objects.filter(pk__in=[notice.pk for notice in chosen]).update(delivery=delivery)


def _hurry(unsent: Delivery, notices: Sequence[Notice], now: datetime) -> None:
    """Try at once what was postponed, if an urgent notice has come since the last attempt: the
    channel may be back long before the next one."""
    last = unsent.tried_at or unsent.created_at
    is_new = any(is_urgent(notice) and notice.created_at > last for notice in notices)
    if is_new and unsent.not_before > now:
        Delivery.objects.filter(pk=unsent.pk).update(not_before=now)


def choose(
    channel: Channel, notices: Sequence[Notice], lately: Sequence[datetime], now: datetime
) -> list[Notice]:
    """The notices that are sent now. Pure. lately: when the last hour's messages were made.

    Urgent ones don't wait, and take along what waits. Others wait for 30 s, for 5 min after the
    last message, and for the end of the quiet hours. Nothing passes the cap of messages an hour.
    """
    if not notices or len(lately) >= channel.per_hour:
        return []
    if quiet_hours.is_quiet(now, channel.quiet_from, channel.quiet_to, channel.zone):
        notices = [n for n in notices if n.incident.level == Level.URGENT]
    if any(map(is_urgent, notices)):
        return list(notices)
    first = min((notice.created_at for notice in notices), default=now)
    is_early = timedelta() <= now - first < GROUP_WAIT or (
        bool(lately) and now - lately[-1] < GROUP_INTERVAL
    )
    return [] if is_early else list(notices)


def is_urgent(notice: Notice) -> bool:
    return bool(notice.incident.level == Level.URGENT and notice.kind != NoticeKind.RESOLVED)


def claim(now: datetime, *, failing: bool = True) -> Delivery | None:
    """Take the next delivery that is due, for as long as sending it may take.

    failing: also to a channel whose last attempt failed.

    Each channel gets its messages in their order: an end must not overtake its beginning. What was
    muted since it was made is left out; what then says nothing is given up.
    """
    earlier = Delivery.objects.filter(
        UNSENT, channel=OuterRef("channel"), created_at__lt=OuterRef("created_at")
    )
    back = Q(claimed_until__gt=now + CLAIM)  # the clock was set back: nobody claims so long,
    far = Q(not_before__gt=now + registry.WAITS[-1])  # and nothing waits so long
    due = Delivery.objects.filter(
        UNSENT,
        ~Exists(earlier),
        Q(claimed_until=None) | Q(claimed_until__lte=now) | back,
        Q(not_before__lte=now) | far,
        channel__enabled=True,
        channel__gone_at=None,
    )
    if not failing:
        due = due.filter(channel__failing_since=None)
    order = (F("channel__failing_since").asc(nulls_first=True), "-urgent", "created_at", "pk")
    with transaction.atomic():
        rows = due.select_related("channel").order_by(*order)
        while delivery := rows.select_for_update(skip_locked=True, of=("self",)).first():
            # Whoever claimed it before has died, and may have sent it.
            delivery.maybe_arrived |= delivery.claimed_until is not None
            if content := _without_muted(delivery, now):
                delivery.content = content
                delivery.attempts += 1
                delivery.claimed_until, delivery.tried_at = now + CLAIM, now
                delivery.save(update_fields=CLAIMED)
                return delivery
            delivery.given_up_at, delivery.error = now, ""  # nothing of it is missed
            delivery.save(update_fields=["given_up_at", "error"])
    return None


def _without_muted(delivery: Delivery, now: datetime) -> Content | None:
    """The content without incidents that are muted; None if it was about these alone."""
    content: Content = delivery.content
    keys = [item["key"] for item in content["incidents"]]
    muted = set(
        Mute.objects.filter(until__gt=now, key__in=keys).values_list("key", flat=True)
        if keys
        else ()
    )
    if not muted:
        return content
    if not delivery.maybe_arrived:  # then its end has nothing to end
        unsent = Notice.objects.filter(delivery=delivery, incident__key__in=muted)
        unsent.update(delivery=None, dropped_at=now)
    kept = [item for item in content["incidents"] if item["key"] not in muted]
    return messages.with_incidents(content, kept) if kept else None


def settle(delivery: Delivery, result: Result, now: datetime) -> None:
    """Store the result of an attempt. Another's claim, made after ours ran out, is left alone.

    What is given up stays, with the reason, and keeps nothing back that waits behind it.
    """
    ours = Delivery.objects.filter(pk=delivery.pk, claimed_until=delivery.claimed_until)
    channel = Channel.objects.filter(pk=delivery.channel_id)
    with transaction.atomic():
        if result.accepted:
            if ours.update(sent_at=now, claimed_until=None, error=""):
                channel.update(last_sent_at=now, failing_since=None, last_error=result.warning)
                _note(delivery, "sent", "to", now)
            return
        retry_at = now + registry.wait(delivery.attempts, result)
        is_over = registry.is_over(delivery.attempts, result, retry_at - delivery.created_at)
        given_up = now if is_over else None
        failed = {"claimed_until": None, "error": result.detail, "given_up_at": given_up}
        if not ours.update(not_before=retry_at, **failed):
            return
        channel.update(
            failing_since=Coalesce("failing_since", now),
            last_error=result.detail,
            gone_at=now if result.is_gone else None,
        )
        if is_over:
            _note(delivery, "not sent", "not taken by", now)
            _forget_what_never_arrived(delivery, now)
        if result.is_gone:
            others = Delivery.objects.filter(UNSENT, channel=delivery.channel_id)
            others.update(given_up_at=now, error=result.detail)
    logger.warning(
        "channel %s: delivery %s: attempt %s: %s",
        delivery.channel.name,
        delivery.pk,
        delivery.attempts,
        result.detail,
        extra={"channel": str(delivery.channel_id), "delivery": str(delivery.pk)},
    )


def send_test(channel: Channel) -> Result:
    """Send a test message now. One that is accepted ends a failure, even of one that was gone."""
    now = clock.database_now()
    result = registry.send(channel, str(uuid4()), messages.of_test(channel.name, now), now)
    if result.accepted:
        Channel.objects.filter(pk=channel.pk).update(
            last_sent_at=now, failing_since=None, gone_at=None, last_error=result.warning
        )
    return result


def _forget_what_never_arrived(delivery: Delivery, now: datetime) -> None:
    """Its end has nothing to end, also if that waits already; unless an earlier message arrived, or
    this one may have when a process died."""
    if delivery.maybe_arrived:
        return
    lost = Notice.objects.filter(delivery=delivery)
    incidents = set(lost.values_list("incident", flat=True))
    lost.update(delivery=None, dropped_at=now)
    rows = Notice.objects.filter(incident__in=incidents, channel=delivery.channel_id)
    last = dict(rows.filter(delivery__isnull=False).order_by("pk").values_list("incident", "kind"))
    begun = [incident for incident, kind in last.items() if kind != NoticeKind.RESOLVED]
    ends = rows.filter(WAITING, kind=NoticeKind.RESOLVED)
    ends.exclude(incident__in=begun).update(dropped_at=now)


def _note(delivery: Delivery, kind: str, words: str, now: datetime) -> None:
    """In the timeline of each incident that the message was about."""
    rows = Notice.objects.filter(delivery=delivery).values_list("incident", "kind")
    IncidentEvent.objects.bulk_create(
        IncidentEvent(
            incident_id=incident, at=now, kind=kind, text=f"{notice}, {words} {delivery.channel}"
        )
        for incident, notice in dict(rows).items()
    )
