"""Repairs the stored schedules so that they match the registered syncs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now
from django_q.models import Schedule

from common.clock import database_now
from syncs.dispatch import constraints
from syncs.engine import registry
from syncs.engine.registry import Sync
from syncs.models import SyncSchedule
from syncs.schedules import crontab, store
from syncs.schedules.descriptions import describe
from syncs.schedules.store import FUNCTION, OFF, SLOT, UNLIMITED

LONG_AGO = timedelta(days=31)
MISSING, RESTORED = "this constraint on schedules was missing", "restored"

# Times that Python can't read; _due_next_run corrects each.
_POSTPONE = """
    UPDATE django_q_schedule SET next_run = '2199-01-01+00'
     WHERE next_run < '0001-01-02+00' OR next_run >= '2200-01-01+00'"""


@dataclass(frozen=True)
class ScheduleIssue:
    """What is wrong with a schedule, and the remedy; empty if you have to fix it yourself."""

    subject: str
    wrong: str
    remedy: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, [self.subject, self.wrong, self.remedy]))


class _DryRun(Exception):
    """Rolls back the transaction of a dry run."""


def reconcile(*, dry_run: bool = False) -> list[ScheduleIssue]:
    """Repair the stored schedules and return what was wrong. dry_run: only return it.

    Concurrent calls wait for each other. Settings that a user chose are kept.
    """
    found: list[ScheduleIssue] = []
    try:
        with transaction.atomic():
            store.lock_setup()
            found.extend(_repair_all())
            if dry_run:
                found.extend(
                    ScheduleIssue(name, MISSING, RESTORED) for name in constraints.missing()
                )
                raise _DryRun
            found.extend(_restore_constraints())
    except _DryRun:
        pass
    return found


def _repair_all() -> Iterator[ScheduleIssue]:
    by_sync: dict[str, list[Schedule]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_POSTPONE)
    rows = Schedule.objects.select_related("sync_schedule").select_for_update(of=["self"])
    for row in rows.order_by("pk"):
        sync = _sync_of(row)
        if sync is None:
            yield from _switch_off(row)
        else:
            yield from _repair(row, sync)
            by_sync.setdefault(sync.name, []).append(row)
    for sync in registry.scheduled_syncs():
        rows = by_sync.get(sync.name, [])
        yield from _remove_duplicates(sync, rows)
        yield from _create_missing(sync, rows)


def _sync_of(row: Schedule) -> Sync | None:
    """Return the sync that a row belongs to.

    Taken from its SyncSchedule; otherwise from its arguments, or from its name if they are
    broken. A row that calls another function and has no SyncSchedule belongs to none.
    """
    known = {sync.name: sync for sync in registry.scheduled_syncs()}
    kept = getattr(row, "sync_schedule", None)
    if kept is not None and kept.sync in known:
        return known[kept.sync]
    if row.func != FUNCTION:
        return None
    named = store.sync_of(row.args)
    return known.get(named if named is not None else row.name or "")


def _switch_off(row: Schedule) -> Iterator[ScheduleIssue]:
    if row.repeats == OFF:
        return
    Schedule.objects.filter(pk=row.pk).update(repeats=OFF)
    what = f"calls {row.func!r}" if row.func != FUNCTION else f"names no sync ({row.args})"
    yield ScheduleIssue(f"row {row.pk}", what, "switched off")


def _repair(row: Schedule, sync: Sync) -> Iterator[ScheduleIssue]:
    broken = {name: value for name, value in _due_fields(row, sync) if getattr(row, name) != value}
    if not broken:
        return
    for name, value in broken.items():
        setattr(row, name, value)
    row.save(update_fields=list(broken))
    if "cron" in broken:
        SyncSchedule.objects.filter(schedule=row).update(planned_since=Now())
    what = ", ".join(name.replace("_", " ") for name in broken)
    yield ScheduleIssue(sync.name, f"its schedule has a wrong {what}", "repaired")


def _due_fields(row: Schedule, sync: Sync) -> Iterator[tuple[str, Any]]:
    """Yield what the fields of a sync's row must be; valid values are kept."""
    cron = crontab.normalize(row.cron or "")
    cron = cron if crontab.is_valid(cron) else default_cron(sync)
    yield "func", FUNCTION
    yield "args", repr((sync.name,))
    yield "kwargs", row.kwargs if row.kwargs in (None, "", "{}") else None
    yield "hook", row.hook if row.hook in (None, "") else None
    yield "schedule_type", Schedule.CRON
    yield "intended_date_kwarg", SLOT
    yield "cluster", None
    yield "repeats", OFF if row.repeats == OFF else UNLIMITED
    yield "cron", cron
    yield "next_run", _due_next_run(row.next_run, cron)


def _due_next_run(stored: datetime | None, cron: str) -> datetime:
    """Return the time at which the row has to fire next.

    None would never fire, and a time after the next slot would skip that one. From a time long
    ago django-q would count every slot since, for hours and with all rows locked.
    """
    now = database_now()
    following = crontab.next_slots(cron, now)[0]
    if stored is None or stored > following:
        return following
    return stored if stored > now - LONG_AGO else max(stored, crontab.previous_slot(cron, now))


def _remove_duplicates(sync: Sync, rows: list[Schedule]) -> Iterator[ScheduleIssue]:
    """Keep one of several rows: the one that users edit, or else the first that is on."""
    if len(rows) < 2:
        return
    kept = SyncSchedule.objects.filter(sync=sync.name).values_list("schedule", flat=True).first()
    best = min(rows, key=lambda row: (row.pk != kept, row.repeats == OFF, row.pk))
    duplicates = [row for row in rows if row is not best]
    Schedule.objects.filter(pk__in=[row.pk for row in duplicates]).delete()
    rows[:] = [best]
    extra = len(duplicates)
    yield ScheduleIssue(sync.name, f"has {extra + 1} schedules", f"removed {extra}")


def _create_missing(sync: Sync, rows: list[Schedule]) -> Iterator[ScheduleIssue]:
    """Create what is missing: the row that fires, or its SyncSchedule."""
    if not rows:
        cron = default_cron(sync)
        store.create(sync.name, cron)
        yield ScheduleIssue(sync.name, "has no schedule", f"created, {describe(cron)}")
    elif not SyncSchedule.objects.filter(sync=sync.name).exists():
        SyncSchedule.objects.filter(schedule=rows[0]).delete()  # of a sync that no longer exists
        SyncSchedule.objects.create(sync=sync.name, schedule=rows[0])
        yield ScheduleIssue(sync.name, "its schedule was not made by RAINBO", "adopted")


def _restore_constraints() -> Iterator[ScheduleIssue]:
    for name in constraints.missing():
        try:
            constraints.restore(name)
        except DatabaseError as error:
            why = str(error).partition("\n")[0]
            yield ScheduleIssue(name, f"{MISSING} and could not be restored: {why}")
        else:
            yield ScheduleIssue(name, MISSING, RESTORED)


def default_cron(sync: Sync) -> str:
    """Return the cron line of a new schedule: RAINBO_SCHEDULES, or the sync's default."""
    stored: dict[str, str] = settings.RAINBO_SCHEDULES
    return crontab.normalize(stored.get(sync.name, sync.cron))
