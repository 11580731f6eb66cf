"""Schedules, slots and clocks for the tests of what runs when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F
from django_q.models import Schedule

from syncs.dispatch import reconcile
from syncs.models import RunState, SyncRun, SyncSchedule, Trigger
from syncs.schedules import store

YEARLY = "0 0 1 1 *"  # no other slot comes during a test
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def plan(cron: str = YEARLY, sync: str = "probe", **fields: Any) -> Schedule:
    """Plan a sync; it has been planned so for long by default."""
    row = store.create(sync, cron)
    kept = {"planned_since": NOON - timedelta(days=30)} | fields
    SyncSchedule.objects.filter(sync=sync).update(**kept)
    return row


def default_schedules() -> None:
    """Create each sync's own schedule, planned so for long."""
    reconcile.reconcile()
    SyncSchedule.objects.update(planned_since=NOON - timedelta(days=30))


def at(clock: str) -> datetime:
    """A time of the test's day: `12:00` or `12:00:05`."""
    parts = [int(part) for part in clock.split(":")]
    return NOON.replace(hour=parts[0], minute=parts[1], second=parts[2] if parts[2:] else 0)


def of_slot(slot: datetime, state: RunState = RunState.SUCCEEDED, **fields: Any) -> SyncRun:
    return SyncRun.objects.create(
        sync="probe", slot=slot, state=state, trigger=Trigger.SCHEDULE, **fields
    )


def outcomes() -> dict[str, str]:
    """The state of each slot's last run, by the slot's time of day."""
    runs = SyncRun.objects.exclude(slot=None).order_by("slot", "attempt")
    return {f"{run.slot:%H:%M}": run.state for run in runs}


def let_pass(record: SyncRun) -> None:
    """The time before which a run must not begin is over."""
    SyncRun.objects.filter(pk=record.pk).update(not_before=F("created_at"))
    record.refresh_from_db()
