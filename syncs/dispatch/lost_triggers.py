"""Planned times that nobody has heard of: their task got lost, or nothing has rung for them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.core.signing import BadSignature
from django.db import transaction
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from common.clock import database_now
from syncs.models import SyncRun
from syncs.schedules import crontab, store

LONGEST = timedelta(days=1)
MOST = 1_000  # rings that one call takes over


def retrigger() -> list[str]:
    """Ring again for them. A ring too many does no harm: a slot has one run."""
    rung = []
    for sync, slot in missed_triggers():
        async_task(store.FUNCTION, sync, **{store.SLOT: slot.isoformat()})
        rung.append(sync)
    return rung


def missed_triggers() -> Iterator[tuple[str, datetime]]:
    """The planned time of each sync that has no run, though it fired or should have.

    It is given a while to come by itself. A row that no scheduler has moved on (all their clocks
    are behind, or some session holds a row that they wait for) is moved on when the caller asks
    for the next, together with what the caller wrote.
    """
    now = database_now()
    rows = Schedule.objects.filter(func=store.FUNCTION, sync_schedule__isnull=False)
    rows = rows.exclude(repeats=store.OFF).exclude(next_run=None)
    for row in rows.select_related("sync_schedule"):
        if crontab.is_valid(row.cron or ""):
            with transaction.atomic():
                if (slot := _overdue(row, now) or _lost(row, now)) is not None:
                    yield row.sync_schedule.sync, slot


def take_abandoned() -> Iterator[tuple[str, datetime]]:
    """Take rings that no worker took within a beat; the syncs and planned times among them.

    Each leaves the queue when the caller asks for the next, together with what the caller wrote.
    Nothing is lost with the others: a run that waits is found without its ring, and a sign of
    life that came so late would say nothing.
    """
    before = database_now() - timedelta(seconds=settings.RAINBO_HEARTBEAT_INTERVAL)
    old = OrmQ.objects.filter(lock__lt=before).order_by("pk")
    for pk in old.values_list("pk", flat=True)[:MOST]:
        with transaction.atomic():
            row = old.select_for_update(skip_locked=True).filter(pk=pk).first()
            if row is None:
                continue
            if (slot := _slot(row)) is not None:
                yield slot
            row.delete()


def _overdue(row: Schedule, now: datetime) -> datetime | None:
    """The time at which the row should have fired two beats ago or earlier."""
    if row.next_run > now - 2 * _beat():
        return None
    store.advance(row, crontab.next_slots(row.cron, now)[0])
    return None if _has_run(row, max(row.next_run, _latest(row, now))) else row.next_run


def _lost(row: Schedule, now: datetime) -> datetime | None:
    """The time at which it fired last, unless of a former rhythm or more than a day ago."""
    slot = _latest(row, now)
    if row.next_run <= now or slot <= max(row.sync_schedule.planned_since, now - LONGEST):
        return None
    return None if _has_run(row, slot) else slot


def _latest(row: Schedule, now: datetime) -> datetime:
    return crontab.previous_slot(row.cron, now - _beat())


def _beat() -> timedelta:
    return timedelta(seconds=settings.RAINBO_HEARTBEAT_INTERVAL)


def _has_run(row: Schedule, slot: datetime) -> bool:
    return SyncRun.objects.filter(sync=row.sync_schedule.sync, slot__gte=slot).exists()


def _slot(row: OrmQ) -> tuple[str, datetime] | None:
    """The sync and planned time that it was rung for; None for what rang for something else."""
    try:
        task = SignedPackage.loads(row.payload)
    except (BadSignature, TypeError):
        return None  # of a former SECRET_KEY: workers drop it too
    slot = task["kwargs"].get(store.SLOT)
    if task["func"] != store.FUNCTION or slot is None:
        return None
    return task["args"][0], datetime.fromisoformat(slot)
