"""The planned times of syncs, kept as rows of django-q."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django_q.models import Schedule

from syncs import rhythm, specs
from syncs.models import DefaultSchedule
from syncs.specs import Sync

FUNCTION = "syncs.tasks.run_slot"
SLOT = "slot"  # the argument that takes the planned time
ARGS = r"^\('[a-z_]{1,64}',\)$"  # what a schedule hands to the function: the name of its sync
UNLIMITED, PAUSED = -1, 0  # django-q's count of repeats

_SETUP = 5_272_416_201  # the advisory lock of those who create schedules


@dataclass(frozen=True)
class Planned:
    """One schedule of a sync."""

    sync: str
    cron: str
    paused: bool
    next_slot: datetime


@dataclass(frozen=True)
class Setup:
    """What became of a sync's default schedule: created, kept, or left out as removed."""

    sync: str
    outcome: str
    planned: tuple[Planned, ...] = ()


def planned() -> dict[str, list[Planned]]:
    """Every schedule by its sync. What is no cron line of ours is left out."""
    found: dict[str, list[Planned]] = {}
    rows = Schedule.objects.filter(func=FUNCTION, schedule_type=Schedule.CRON, args__regex=ARGS)
    for row in rows.exclude(cron=None).order_by("pk"):
        if match := re.match(r"\('(\w+)'", row.args):
            plan = Planned(match[1], row.cron, row.repeats == PAUSED, row.next_run)
            found.setdefault(plan.sync, []).append(plan)
    return found


def period(sync: Sync, at: datetime) -> timedelta:
    """The time between two planned times of a sync: its schedules', or its default rhythm's."""
    active = [plan.cron for plan in planned().get(sync.name, []) if not plan.paused]
    return min(rhythm.period(cron, at) for cron in active or [sync.cron])


def create_missing(*, restore: bool = False) -> list[Setup]:
    """Create the default schedules that were never created.

    What a person changed, paused or removed stays so; restore: create the removed ones again.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_SETUP])
        there = planned()
        created = set(DefaultSchedule.objects.values_list("sync", flat=True))
        return [
            _setup(sync, there.get(sync.name, []), restore or sync.name not in created)
            for sync in specs.all_syncs()
        ]


def _setup(sync: Sync, there: list[Planned], wanted: bool) -> Setup:
    if there:
        DefaultSchedule.objects.get_or_create(sync=sync.name)
        return Setup(sync.name, "kept", tuple(there))
    if not wanted:
        return Setup(sync.name, "removed")
    DefaultSchedule.objects.get_or_create(sync=sync.name)
    row = create(sync.name, sync.cron)
    return Setup(sync.name, "created", (Planned(sync.name, sync.cron, False, row.next_run),))


def create(sync: str, cron: str) -> Schedule:
    """Plan a sync; its first time is the next one that the cron line names, in UTC."""
    row: Schedule = Schedule.objects.create(
        name=sync,
        func=FUNCTION,
        args=repr((sync,)),
        schedule_type=Schedule.CRON,
        cron=cron,
        intended_date_kwarg=SLOT,
        repeats=UNLIMITED,
    )
    return row
