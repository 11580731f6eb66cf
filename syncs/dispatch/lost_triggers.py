"""Slots that no run exists for: their task was lost, or their schedule did not fire."""

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
MOST = 1_000  # tasks that one call takes over


def retrigger() -> list[str]:
    """Enqueue missed slots again. One task too many does no harm: a slot has one run."""
    enqueued = []
    for sync, slot in missed_triggers():
        async_task(store.FUNCTION, sync, **{store.SLOT: slot.isoformat()})
        enqueued.append(sync)
    return enqueued


def missed_triggers() -> Iterator[tuple[str, datetime]]:
    """Yield the slot of each sync that has no run although it fired or should have fired.

    A slot is missed only after some time. A row that no scheduler advanced (all their clocks are
    behind, or a session holds a lock that they wait for) is advanced when the caller asks for the
    next one, in the same transaction as what the caller wrote.
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
    """Take tasks that no worker took within a heartbeat interval; yield the slots among them.

    Each leaves the queue when the caller asks for the next one, in the same transaction as what
    the caller wrote. Dropping the others loses nothing: a queued run is found without its task,
    and a heartbeat that late would prove nothing.
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
    """Return the slot that should have fired at least two heartbeat intervals ago."""
    if row.next_run > now - 2 * _interval():
        return None
    store.advance(row, crontab.next_slots(row.cron, now)[0])
    return None if _has_run(row, max(row.next_run, _latest(row, now)), now) else row.next_run


def _lost(row: Schedule, now: datetime) -> datetime | None:
    """Return the last slot, unless it is of an earlier cron line or more than a day old."""
    slot = _latest(row, now)
    if row.next_run <= now or slot <= max(row.sync_schedule.planned_since, now - LONGEST):
        return None
    return None if _has_run(row, slot, now) else slot


def _latest(row: Schedule, now: datetime) -> datetime:
    return crontab.previous_slot(row.cron, now - _interval())


def _interval() -> timedelta:
    return timedelta(seconds=settings.RAINBO_HEARTBEAT_INTERVAL)


def _has_run(row: Schedule, slot: datetime, now: datetime) -> bool:
    """Whether it or a later slot has one. Those of the future are from before the clock was set
    back: they replace nothing that is due now."""
    runs = SyncRun.objects.filter(sync=row.sync_schedule.sync)
    return runs.filter(slot__range=(slot, now)).exists()


def _slot(row: OrmQ) -> tuple[str, datetime] | None:
    """Return the sync and slot of a schedule's task; None for any other task."""
    try:
        task = SignedPackage.loads(row.payload)
    except (BadSignature, TypeError):
        return None  # signed with an old SECRET_KEY: workers drop it too
    slot = task["kwargs"].get(store.SLOT)
    if task["func"] != store.FUNCTION or slot is None:
        return None
    return task["args"][0], datetime.fromisoformat(slot)
