"""The stored schedules: rows of django-q that fire, and what RAINBO stores next to them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django_q.models import Schedule

from common.clock import database_now, from_iso
from common.errors import RainboError, UsageError
from common.joint_query import Question, Row, answer, compiled
from syncs.models import RunState, SyncRun, SyncSchedule, Trigger
from syncs.names import title_of
from syncs.schedules import crontab
from syncs.schedules.pause import Pause

FUNCTION = "syncs.tasks.run_slot"
SLOT = "slot"  # the keyword argument with the scheduled time
ARGS = r"^\('[a-z_]{1,64}',\)$"  # what a schedule passes to the function: the name of its sync
UNLIMITED, OFF = -1, 0  # django-q's count of repeats
LOCK_TIMEOUT_MS = 10_000  # for creating and removing schedules
LONGEST_PAUSE = timedelta(days=366)
LONGEST_REASON, LONGEST_NOTE = 255, 2_000  # characters
LONGEST_GRACE = 31 * 24 * 60 * 60  # seconds
KEPT = ("planned_since", "grace_seconds", "paused_until", "pause_reason")

_SETUP = 5_272_416_201  # the advisory lock for creating schedules


class ChangedMeanwhile(RainboError):
    """Someone else changed this schedule: check it again. Nothing was saved."""

    kind = "changed"


@dataclass(frozen=True)
class Planned:
    """One schedule of a sync. off: it is switched off. since: when this frequency was set."""

    sync: str
    cron: str
    off: bool
    next_run: datetime
    since: datetime | None = None
    grace: timedelta | None = None
    pause: Pause | None = None

    def slots_after(self, confirmed_at: datetime) -> list[datetime]:
        """Return the two slots that follow a confirmation, of those that were planned.

        A slot before the frequency was set was never planned, so that nothing is late for it.
        """
        return crontab.next_slots(self.cron, max(confirmed_at, self.since or confirmed_at), 2)

    def paused(self, now: datetime) -> Pause | None:
        """Return the current pause, if any."""
        return self.pause if self.pause and self.pause.until > now else None

    def next_slot(self, now: datetime) -> datetime | None:
        """Return the next slot that will run, taking a pause into account."""
        if self.off:
            return None
        pause = self.paused(now)
        return after(pause, self.cron) if pause else self.next_run


@dataclass(frozen=True)
class Wanted:
    """The settings of a schedule that a user wants. options: as runs store them."""

    cron: str
    enabled: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    grace_seconds: int | None = None
    note: str = ""


def after(pause: Pause, cron: str) -> datetime:
    """Return the first slot after a pause; one exactly at its end runs."""
    return crontab.next_slots(cron, pause.until - timedelta(microseconds=1))[0]


def lock_setup() -> None:
    """Lock the creation and removal of schedules until the transaction ends.

    Sets a lock timeout for the transaction; raises OperationalError when it runs out.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_SETUP])


def planned() -> dict[str, list[Planned]]:
    """Return all schedules by sync; rows with an invalid cron line are skipped."""
    return planned_in(answer({"schedules": ask()})["schedules"])


@cache
def ask() -> Question:
    """The question whose answer `planned_in` takes."""
    rows = Schedule.objects.filter(func=FUNCTION, schedule_type=Schedule.CRON, args__regex=ARGS)
    rows = rows.exclude(cron=None).exclude(next_run=None).order_by("pk")
    kept = {name: F(f"sync_schedule__{name}") for name in KEPT}
    return compiled(rows.values("args", "cron", "repeats", "next_run", **kept))


def planned_in(rows: Iterable[Row]) -> dict[str, list[Planned]]:
    """Like `planned`, of rows that were read."""
    found: dict[str, list[Planned]] = {}
    for row in rows:
        if crontab.is_valid(row["cron"]):
            plan = _planned(row)
            found.setdefault(plan.sync, []).append(plan)
    return found


def sync_of(args: str | None) -> str | None:
    """Return the sync that a row of django-q names, if its arguments have our form."""
    match = re.match(r"^\('([a-z_]{1,64})',\)$", args or "")
    return match[1] if match else None


def create(sync: str, cron: str, actor: str = "") -> Schedule:
    """Create a sync's schedule; its first run is at the next slot of the cron line, in UTC."""
    with transaction.atomic():
        row: Schedule = Schedule.objects.create(
            name=sync,
            func=FUNCTION,
            args=repr((sync,)),
            schedule_type=Schedule.CRON,
            cron=cron,
            intended_date_kwarg=SLOT,
            repeats=UNLIMITED,
        )
        row.next_run = crontab.next_slots(cron, database_now())[0]  # django-q took its own clock
        row.save(update_fields=["next_run"])
        SyncSchedule.objects.get_or_create(
            sync=sync, defaults={"schedule": row, "changed_by": actor}
        )
    return row


def version(kept: SyncSchedule) -> str:
    """Return a version of the schedule; a form that was opened with another one is rejected."""
    return f"{kept.changed_at.isoformat()} {kept.schedule.cron} {kept.schedule.repeats}"


def change(sync: str, wanted: Wanted, actor: str, seen: str) -> SyncSchedule:
    """Change a schedule whose version is still `seen`. It never starts a run.

    The next run is only recomputed if the cron line changed or the schedule is switched on or off.
    Raises ChangedMeanwhile.
    """
    with transaction.atomic():
        kept = _locked(sync)
        if version(kept) != seen:
            raise ChangedMeanwhile(_by_whom(kept))
        row = kept.schedule
        repeats = UNLIMITED if wanted.enabled else OFF
        if row.cron != wanted.cron or row.repeats != repeats:
            _record_due_slot_as_missed(sync, row)
            row.cron, row.repeats = wanted.cron, repeats
            kept.planned_since = database_now()
            row.next_run = crontab.next_slots(wanted.cron, kept.planned_since)[0]
            row.save(update_fields=["cron", "repeats", "next_run"])
        kept.options, kept.note = wanted.options, wanted.note
        kept.grace_seconds = wanted.grace_seconds
        return _saved(kept, actor)


def add(sync: str, wanted: Wanted, actor: str) -> SyncSchedule:
    """Add a schedule to a sync that has none. Raises ChangedMeanwhile if it got one meanwhile."""
    with transaction.atomic():
        lock_setup()
        if SyncSchedule.objects.filter(sync=sync).exists():
            raise ChangedMeanwhile(f"{sync} got its schedule meanwhile. Nothing was saved.")
        create(sync, wanted.cron, actor)
        return change(sync, wanted, actor, version(_locked(sync)))


def pause(sync: str, until: datetime, reason: str, actor: str) -> SyncSchedule:
    """Pause a schedule until a future time within a year: its slots are skipped."""
    now = database_now()
    if until <= now:
        raise UsageError("a pause must end in the future")
    if until - now > LONGEST_PAUSE:
        raise UsageError("a pause may last a year at most; for longer, switch the schedule off")
    with transaction.atomic():
        kept = _locked(sync)
        if not kept.is_paused(now):
            kept.paused_since = now
        kept.paused_until, kept.pause_reason, kept.paused_by = until, reason, actor
        return _saved(kept, actor)


def pause_facts(kept: SyncSchedule) -> dict[str, Any]:
    """Return the pause as it is recorded."""
    return {"paused_until": kept.paused_until, "pause_reason": kept.pause_reason}


def facts(kept: SyncSchedule) -> dict[str, Any]:
    """Return the settings as they are recorded."""
    return {
        "enabled": kept.schedule.repeats != OFF,
        "cron": kept.schedule.cron,
        "options": kept.options,
        "grace_seconds": kept.grace_seconds,
        "note": kept.note,
    }


def resume(sync: str, actor: str) -> SyncSchedule:
    """End a pause now; the next slot runs."""
    with transaction.atomic():
        kept = _locked(sync)
        kept.paused_until, kept.pause_reason, kept.paused_by = None, "", ""
        return _saved(kept, actor)


def advance(row: Schedule, to: datetime) -> None:
    """Set the next run of a row unless it was changed since it was read or is locked."""
    free = Schedule.objects.select_for_update(skip_locked=True)
    with transaction.atomic():
        if free.filter(pk=row.pk, next_run=row.next_run).exists():
            Schedule.objects.filter(pk=row.pk).update(next_run=to)


def _planned(row: Row) -> Planned:
    seconds, until = row["grace_seconds"], from_iso(row["paused_until"])
    return Planned(
        sync=sync_of(row["args"]) or "",
        cron=row["cron"],
        off=row["repeats"] == OFF,
        next_run=datetime.fromisoformat(row["next_run"]),
        since=from_iso(row["planned_since"]),
        grace=None if seconds is None else timedelta(seconds=seconds),
        pause=Pause(until, row["pause_reason"]) if until else None,
    )


def _locked(sync: str) -> SyncSchedule:
    rows = SyncSchedule.objects.select_related("schedule").select_for_update()
    return rows.get(sync=sync)


def _saved(kept: SyncSchedule, actor: str) -> SyncSchedule:
    kept.changed_by = actor
    kept.save()
    return kept


def _by_whom(kept: SyncSchedule) -> str:
    who = kept.changed_by or "a command"
    return (
        f"The schedule of {title_of(kept.sync)} was changed by {who} at "
        f"{kept.changed_at:%H:%M:%S} UTC, after you opened it: check it again. Nothing was saved."
    )


def _record_due_slot_as_missed(sync: str, row: Schedule) -> None:
    """Record a slot that is due and has not run as missed, or it would be forgotten."""
    if row.repeats == OFF or row.next_run is None or row.next_run > database_now():
        return
    SyncRun.objects.get_or_create(
        sync=sync,
        slot=row.next_run,
        attempt=1,
        defaults={
            "trigger": Trigger.SCHEDULE,
            "state": RunState.SKIPPED,
            "error": "missed: the schedule was changed before it began",
            "finished_at": Now(),
        },
    )
