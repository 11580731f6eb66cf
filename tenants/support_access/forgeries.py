"""Finds sessions on the instances that RAINBO never issued, and ends those of its ghost users.

Whoever has a stolen key of RAINBO can sign assertions, and the applications believe them. But each
session that is redeemed leaves a row in its instance's database, and RAINBO knows which it issued.
They may name a session that it did issue: for another instance, or long ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from activity.log import record_by
from common.clock import database_now
from tenants.fleet import connections
from tenants.fleet.connections import Connection
from tenants.health import support_check
from tenants.models import GhostUser, RdsInstance, SupportSession, Tenant
from tenants.models.instance import UNREADABLE
from tenants.support_access import assertion, remote, states
from tenants.support_access.remote import LIMIT, RemoteState

WINDOW = timedelta(days=7)  # in which a session began; what is open is looked at whatever its age
MARGIN = timedelta(hours=1)  # that clocks may differ, and pruning may take
ENDED_BY = "RAINBO never issued it"


def look() -> None:
    """Look at each instance that is up, and record the sessions that are none of RAINBO's.

    Called periodically. One of a ghost user of this installation is ended; another's is reported
    alone: another installation may have issued it.
    """
    now = database_now()
    window = _window()

    def read(instance: RdsInstance, source: Connection) -> Mapping[UUID, RemoteState]:
        if not support_check.is_set_up(source, instance.schema_group):
            return {}
        return remote.read_redeemed(source, instance.schema_group, window)

    asked = RdsInstance.objects.filter(~Q(health__in=UNREADABLE), is_active=True, has_ghosts=True)
    outcomes = connections.each_instance(
        list(asked), read, "support_access", writes=True, remember=False, limit=LIMIT
    )
    found = {one.instance: one.value for one in outcomes if one.value}
    known = _known(jti for there in found.values() for jti in there)
    for instance, there in found.items():
        for jti, state in there.items():
            row = known.get(jti)
            if row is None:
                _record(instance, jti, state, now)
            elif not _is_of(row, instance, state):
                _record_again(row, instance, state, now)


def _window() -> timedelta:
    """Not longer than RAINBO keeps its own rows: what it deleted would seem forged."""
    days = settings.RAINBO_SUPPORT_RETENTION_DAYS
    return min(WINDOW, timedelta(days=days) - MARGIN) if days else WINDOW


def _known(keys: Iterable[UUID]) -> dict[UUID, SupportSession]:
    found: dict[UUID, SupportSession] = SupportSession.objects.in_bulk([*keys])
    return found


def _is_of(row: SupportSession, instance: RdsInstance, state: RemoteState) -> bool:
    """Whether the session there can be the one that is known by its id."""
    is_late = state.redeemed_at is not None and state.redeemed_at > row.expires_at + MARGIN
    return row.instance_id == instance.pk and (row.is_forged or not is_late)


def _record_again(
    row: SupportSession, instance: RdsInstance, state: RemoteState, now: datetime
) -> None:
    """Record at a known session that another one has its id, and end that if it is of ours."""
    began = "an unknown time" if state.redeemed_at is None else f"{state.redeemed_at:%F %H:%M} UTC"
    differs = f"{instance} has another session of the same id, since {began}"
    if differs not in row.differs:
        with transaction.atomic():
            told = ", ".join(filter(None, (row.differs, differs)))
            SupportSession.objects.filter(jti=row.jti).update(differs=told, answered_at=now)
            after = {"ghost user": state.ghost_id, "tenant": state.tenant_id, "on": instance.pk}
            record_by("RAINBO", None, None, "support_session.found", row, after=after)
    if state.ended_at is None and _ghost(instance, state) is not None:
        there = SupportSession(
            jti=row.jti,
            instance_id=instance.pk,
            ghost_id=state.ghost_id,
            tenant_id=state.tenant_id,
            read_only=True,
            end_requested_by=ENDED_BY,
        )
        remote.ask([there], end={row.jti})


def _ghost(instance: RdsInstance, state: RemoteState) -> GhostUser | None:
    return GhostUser.objects.filter(instance=instance, remote_id=state.ghost_id).first()


def _record(instance: RdsInstance, jti: UUID, state: RemoteState, now: datetime) -> None:
    ghost = _ghost(instance, state)
    named = Tenant.objects.filter(instance=instance, remote_id=state.tenant_id)
    began = state.redeemed_at or now
    values: dict[str, Any] = {
        "instance_id": instance.pk,
        "instance_name": instance.name,
        "tenant_id": state.tenant_id,
        "tenant_name": named.values_list("name", flat=True).first() or "",
        "person_id": 0 if ghost is None else ghost.admin_id,
        "person": "somebody" if ghost is None else f"ghost user of {ghost.admin_id}",
        "ghost_id": state.ghost_id,
        "reason": "not known: RAINBO did not issue this session",
        "read_only": False,
        "session_seconds": assertion.LONGEST_SESSION,
        "issued_at": began,
        "expires_at": began,
        "kid": "",
        "is_forged": True,
        "mail": "not asked for: RAINBO did not issue it",
    }
    if ghost is not None:
        values |= {"end_requested_at": now, "end_requested_by": ENDED_BY}
    with transaction.atomic():
        row, is_new = SupportSession.objects.get_or_create(jti=jti, defaults=values)
        if is_new:
            learned = states.learned(row, state, now)
            SupportSession.objects.filter(jti=jti).update(**learned)
            after = {"ghost user": state.ghost_id, "tenant": state.tenant_id}
            record_by("RAINBO", None, None, "support_session.found", row, after=after)
