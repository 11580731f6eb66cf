"""Planned times: each has one run, and in the end one outcome.

What django-q hands over is a ring. Which planned time is due is judged by the clock of RAINBO's
own database: a server whose clock is wrong, or a task that comes late, twice or after others,
changes nothing of it.
"""

from __future__ import annotations

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

MISSED_KEPT = 100  # missed planned times of a sync that are recorded at once
DUE = Q(not_before=None) | Q(not_before__lte=Now())


@dataclass(frozen=True)
class _Plan:
    """What is planned for a sync. since: since when it is so."""

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

    def rest(self, slot: datetime, now: datetime) -> str:
        """Why this planned time passes without a run; empty when it does not."""
        if self.kept and self.kept.paused_until and self.kept.rests(slot, now):
            return f"paused {Pause(self.kept.paused_until, self.kept.pause_reason).in_words(now)}"
        return "its schedule is switched off" if self.off else ""


def claim_due(sync: str, handed: datetime) -> SyncRun | None:
    """The run of the planned time that is due, ready to be executed.

    None when nothing is to be executed now: that time had its run, is paused, or has not come
    yet. Earlier planned times that nothing has run are recorded as missed.
    Raises UsageError for an unknown sync.
    """
    known = registry.get(sync)
    now = database_now()
    plan = _Plan.of(sync)
    slot = _due(sync, plan, handed, now)
    _record_missed(sync, plan, handed, slot)
    if rest := plan.rest(slot, now):
        _record(sync, [slot], RunState.SKIPPED, rest)
        _supersede_earlier(sync, slot, rest)
        return None
    try:
        options = Options.from_json(plan.options)
    except (UsageError, TypeError) as error:
        _record(sync, [slot], RunState.FAILED, f"its schedule's options make no sense: {error}")
        return None
    early = slot if slot > now else None
    record = runs.request(known, options, Trigger.SCHEDULE, slot=slot, not_before=early)
    return record if should_run(record) else None


def should_run(record: SyncRun) -> bool:
    """Whether a run is to be executed now. One of a slot puts those of earlier slots aside."""
    if record.state != RunState.QUEUED or not SyncRun.objects.filter(DUE, pk=record.pk).exists():
        return False
    if record.slot is None:
        return True
    if rest := _Plan.of(record.sync).rest(record.slot, database_now()):
        _end(SyncRun.objects.filter(pk=record.pk), rest)
        return False
    newer = SyncRun.objects.filter(sync=record.sync, slot__gt=record.slot).filter(DUE)
    if first := newer.exclude(state=RunState.SKIPPED).order_by("slot", "attempt").first():
        _end(SyncRun.objects.filter(pk=record.pk), _overtaken(first), first)
        return False
    _supersede_earlier(record.sync, record.slot, _overtaken(record), record)
    return True


def waiting() -> list[SyncRun]:
    """Runs that wait and are due, but those of commands: their own process executes them."""
    queued = SyncRun.objects.filter(DUE, state=RunState.QUEUED)
    return list(queued.exclude(trigger=Trigger.COMMAND).order_by("pk"))


def repair_next_runs() -> None:
    """Bring back a next time that a server with a wrong clock has put too far ahead."""
    now = database_now()
    on = Schedule.objects.filter(func=store.FUNCTION).exclude(repeats=store.OFF)
    for row in on.exclude(next_run=None):
        if crontab.is_valid(row.cron or ""):
            slot = crontab.next_slots(row.cron, now)[0]
            if row.next_run > slot:
                store.advance(row, slot)


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
    """The planned times before this one, the latest first."""
    while True:
        slot = crontab.previous_slot(cron, slot)
        yield slot


def _record_missed(sync: str, plan: _Plan, handed: datetime, slot: datetime) -> None:
    """Give an outcome to each planned time since the last one that has any."""
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
    words = f"missed: nothing ran it in time; the next to run was that of {slot:%Y-%m-%d %H:%M} UTC"
    _record(sync, missed, RunState.SKIPPED, words)


def _record(sync: str, slots: Iterable[datetime], state: RunState, words: str) -> None:
    """Close slots without executing anything; one that has a run keeps it."""
    records = [
        SyncRun(
            sync=sync,
            state=state,
            trigger=Trigger.SCHEDULE,
            slot=slot,
            finished_at=Now(),
            error=words,
        )
        for slot in slots
    ]
    SyncRun.objects.bulk_create(records, ignore_conflicts=True)


def _supersede_earlier(sync: str, slot: datetime, words: str, by: SyncRun | None = None) -> None:
    _end(SyncRun.objects.filter(sync=sync, slot__lt=slot), words, by)


def _end(queued: QuerySet[SyncRun], words: str, by: SyncRun | None = None) -> None:
    """Close queued runs of slots: a first attempt as skipped, a retry as cancelled."""
    queued = queued.filter(state=RunState.QUEUED)
    ended = {"finished_at": Now(), "superseded_by": by}
    queued.filter(attempt=1).update(state=RunState.SKIPPED, error=words, **ended)
    queued.filter(attempt__gt=1).update(state=RunState.CANCELLED, error=words, **ended)


def _overtaken(by: SyncRun) -> str:
    return f"missed: run {by.pk}, of {by.slot:%Y-%m-%d %H:%M} UTC, came first"
