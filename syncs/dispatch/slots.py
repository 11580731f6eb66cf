"""Slots, the scheduled times of a sync: each has one run, and in the end one outcome.

A task of django-q only triggers. Which slot is due is judged by the clock of RAINBO's own
database, so that a server with a wrong clock, or a task that arrives late, twice or out of order,
changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Now
from django_q.models import Schedule

from common.clock import database_now
from common.errors import UsageError
from syncs.engine import registry, runs
from syncs.engine.options import Options
from syncs.models import RunState, SyncRun, SyncSchedule, Trigger
from syncs.schedules import crontab, store
from syncs.schedules.pause import Pause

logger = logging.getLogger("rainbo.dispatch")

EXACTNESS = timedelta(seconds=1)  # of two readings of the clock, one after the other
MISSED_KEPT = 100  # missed slots of a sync that are recorded at once
DUE = Q(not_before=None) | Q(not_before__lte=Now())


@dataclass(frozen=True)
class _Plan:
    """The schedule of a sync. since: when it was last changed."""

    cron: str | None
    since: datetime | None
    options: dict[str, Any]
    off: bool
    kept: SyncSchedule | None

    @classmethod
    def of(cls, sync: str) -> _Plan:
        rows = store.planned().get(sync, [])
        kept = SyncSchedule.objects.filter(sync=sync).first()
        return cls(
            cron=rows[0].cron if rows else None,
            since=kept.planned_since if kept else None,
            options=kept.options if kept else {},
            off=bool(rows) and all(row.off for row in rows),
            kept=kept,
        )

    def why_skipped(self, slot: datetime, now: datetime) -> str:
        """Return why this slot is skipped; empty if it is not."""
        if self.kept and self.kept.paused_until and self.kept.rests(slot, now):
            return f"paused {Pause(self.kept.paused_until, self.kept.pause_reason).in_words(now)}"
        return "its schedule is switched off" if self.off else ""


def claim_due(sync: str, handed: datetime) -> SyncRun | None:
    """Return the run of the slot that is due, ready to be executed.

    None if nothing is to be executed now: the slot had its run, is paused, or is in the future.
    Earlier slots without a run are recorded as missed.
    Raises UsageError for an unknown sync.
    """
    known = registry.get(sync)
    _free_future_slots(sync)
    now = database_now()
    plan = _Plan.of(sync)
    slot = _due(sync, plan, handed, now)
    _record_missed(sync, plan, handed, slot)
    if why := plan.why_skipped(slot, now):
        _record(sync, [slot], RunState.SKIPPED, why)
        _supersede_earlier(sync, slot, why)
        return None
    try:
        options = Options.from_json(plan.options)
    except (UsageError, TypeError) as error:
        _record(sync, [slot], RunState.FAILED, f"its schedule's options are invalid: {error}")
        return None
    early = slot if slot > now else None
    record = runs.request(known, options, Trigger.SCHEDULE, slot=slot, not_before=early)
    return record if should_run(record) else None


def should_run(record: SyncRun) -> bool:
    """Whether to execute a run now. A run of a slot supersedes those of earlier slots."""
    if record.state != RunState.QUEUED or not SyncRun.objects.filter(DUE, pk=record.pk).exists():
        return False
    if record.slot is None:
        return True
    if why := _Plan.of(record.sync).why_skipped(record.slot, database_now()):
        _end(SyncRun.objects.filter(pk=record.pk), why)
        return False
    # Those later than now are from before the clock was set back, and their times come again.
    times = {"slot__gt": record.slot, "slot__lte": database_now()}
    newer = SyncRun.objects.filter(DUE, sync=record.sync, **times)
    if first := newer.exclude(state=RunState.SKIPPED).order_by("slot", "attempt").first():
        _end(SyncRun.objects.filter(pk=record.pk), _overtaken(first), first)
        return False
    _supersede_earlier(record.sync, record.slot, _overtaken(record), record)
    return True


def waiting() -> list[SyncRun]:
    """Return queued runs that are due, without those that a command executes itself."""
    queued = SyncRun.objects.filter(DUE, state=RunState.QUEUED)
    return list(queued.exclude(trigger=Trigger.COMMAND).order_by("pk"))


def repair_next_runs() -> None:
    """Correct next run times that a server with a wrong clock set too far ahead."""
    now = database_now()
    on = Schedule.objects.filter(func=store.FUNCTION).exclude(repeats=store.OFF)
    for row in on.exclude(next_run=None):
        if crontab.is_valid(row.cron or ""):
            slot = crontab.next_slots(row.cron, now)[0]
            if row.next_run > slot:
                store.advance(row, slot)


def _free_future_slots(sync: str) -> None:
    """Take their slots from runs that ended later than now: those times come again."""
    ended = SyncRun.objects.filter(sync=sync, finished_at__gt=Now() + EXACTNESS)
    if freed := ended.exclude(slot=None).update(slot=None):
        logger.warning(
            "the clock of RAINBO's database was set back: %d scheduled times of %s come again",
            freed,
            sync,
        )


def _due(sync: str, plan: _Plan, handed: datetime, now: datetime) -> datetime:
    if plan.cron is None:
        return handed
    latest = _latest(plan.cron, now)
    if handed <= now:
        return max(handed, latest)
    has_run = SyncRun.objects.filter(sync=sync, slot=latest).exists()
    return handed if has_run or plan.since is None or latest <= plan.since else latest


def _latest(cron: str, now: datetime) -> datetime:
    return crontab.previous_slot(cron, now + timedelta(microseconds=1))


def _before(cron: str, slot: datetime) -> Iterator[datetime]:
    """Yield the slots before this one, latest first."""
    while True:
        slot = crontab.previous_slot(cron, slot)
        yield slot


def _record_missed(sync: str, plan: _Plan, handed: datetime, slot: datetime) -> None:
    """Record an outcome for each slot since the last one that has any."""
    if plan.cron is None:
        return
    last = SyncRun.objects.filter(sync=sync, slot__lt=slot).aggregate(last=Max("slot"))["last"]

    def is_missed(at: datetime) -> bool:
        if last is not None and at <= last:
            return False
        return at >= handed or (last is not None and plan.since is not None and at > plan.since)

    missed = list(islice(takewhile(is_missed, _before(plan.cron, slot)), MISSED_KEPT))
    if handed < slot and handed not in missed and (last is None or handed > last):
        missed = [*missed, handed][:MISSED_KEPT]
    why = f"missed: nothing ran it in time; the next to run was that of {slot:%Y-%m-%d %H:%M} UTC"
    _record(sync, missed, RunState.SKIPPED, why)


def _record(sync: str, slots: Iterable[datetime], state: RunState, why: str) -> None:
    """Close slots without executing anything; a slot that has a run keeps it."""
    records = [
        SyncRun(
            sync=sync,
            state=state,
            trigger=Trigger.SCHEDULE,
            slot=slot,
            finished_at=Now(),
            error=why,
        )
        for slot in slots
    ]
    SyncRun.objects.bulk_create(records, ignore_conflicts=True)


def _supersede_earlier(sync: str, slot: datetime, why: str, by: SyncRun | None = None) -> None:
    _end(SyncRun.objects.filter(sync=sync, slot__lt=slot), why, by)


def _end(queued: QuerySet[SyncRun], why: str, by: SyncRun | None = None) -> None:
    """Close queued runs: a first attempt as skipped, a retry as cancelled."""
    queued = queued.filter(state=RunState.QUEUED)
    ended = {"finished_at": Now(), "superseded_by": by}
    queued.filter(attempt=1).update(state=RunState.SKIPPED, error=why, **ended)
    queued.filter(attempt__gt=1).update(state=RunState.CANCELLED, error=why, **ended)


def _overtaken(by: SyncRun) -> str:
    return f"missed: run {by.pk}, of {by.slot:%Y-%m-%d %H:%M} UTC, came first"
