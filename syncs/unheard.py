"""Planned times that nobody has heard of: their task got lost, or nothing has rung for them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django_q.models import Schedule
from django_q.tasks import async_task

from common.clock import database_now
from syncs import rhythm, schedules
from syncs.models import SyncRun

LONGEST = timedelta(days=1)


def ring() -> list[str]:
    """Ring again for them. A ring too many does no harm: a slot has one run."""
    rung = []
    for sync, slot in found():
        async_task(schedules.FUNCTION, sync, **{schedules.SLOT: slot.isoformat()})
        rung.append(sync)
    return rung


def found() -> Iterator[tuple[str, datetime]]:
    """The planned time of each sync that has no run, though it fired or should have.

    It is given a while to come by itself. A row that no scheduler has moved on (all their clocks
    are behind, or some session holds a row that they wait for) is moved on when the caller asks
    for the next, together with what the caller wrote.
    """
    now = database_now()
    rows = Schedule.objects.filter(func=schedules.FUNCTION, sync_schedule__isnull=False)
    rows = rows.exclude(repeats=schedules.OFF).exclude(next_run=None)
    for row in rows.select_related("sync_schedule"):
        if rhythm.is_valid(row.cron or ""):
            with transaction.atomic():
                if (slot := _overdue(row, now) or _lost(row, now)) is not None:
                    yield row.sync_schedule.sync, slot


def _overdue(row: Schedule, now: datetime) -> datetime | None:
    """The time at which the row should have fired two beats ago or earlier."""
    if row.next_run > now - 2 * _beat():
        return None
    schedules.move_on(row, rhythm.next_slots(row.cron, now)[0])
    return None if _has_run(row, max(row.next_run, _latest(row, now))) else row.next_run


def _lost(row: Schedule, now: datetime) -> datetime | None:
    """The time at which it fired last, unless of a former rhythm or more than a day ago."""
    slot = _latest(row, now)
    if row.next_run <= now or slot <= max(row.sync_schedule.planned_since, now - LONGEST):
        return None
    return None if _has_run(row, slot) else slot


def _latest(row: Schedule, now: datetime) -> datetime:
    return rhythm.previous_slot(row.cron, now - _beat())


def _beat() -> timedelta:
    return timedelta(seconds=settings.RAINBO_BEAT)


def _has_run(row: Schedule, slot: datetime) -> bool:
    return SyncRun.objects.filter(sync=row.sync_schedule.sync, slot__gte=slot).exists()
