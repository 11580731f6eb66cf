"""Planned times whose task got lost: with a new key of the queue, or with a killed process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django_q.models import Schedule
from django_q.tasks import async_task

from syncs import rhythm, schedules
from syncs.models import SyncRun
from syncs.queries import database_now

LONGEST = timedelta(days=1)


def ring() -> list[str]:
    """Ring again for them. A ring too many does no harm: a slot has one run."""
    rung = list(found())
    for sync, slot in rung:
        async_task(schedules.FUNCTION, sync, **{schedules.SLOT: slot.isoformat()})
    return [sync for sync, _ in rung]


def found() -> Iterator[tuple[str, datetime]]:
    """The latest planned time of each sync that fired and has no run.

    It is given a while to come by itself, and one that lies before the last change of its
    rhythm, or more than a day back, is not made up for.
    """
    now = database_now()
    rows = Schedule.objects.filter(func=schedules.FUNCTION, sync_schedule__isnull=False)
    for row in rows.exclude(repeats=schedules.OFF).select_related("sync_schedule"):
        if row.next_run is None or row.next_run <= now or not rhythm.is_valid(row.cron or ""):
            continue
        kept = row.sync_schedule
        slot = rhythm.previous_slot(row.cron, now - timedelta(seconds=settings.RAINBO_BEAT))
        if slot > max(kept.planned_since, now - LONGEST) and not _has_run(kept.sync, slot):
            yield kept.sync, slot


def _has_run(sync: str, slot: datetime) -> bool:
    return SyncRun.objects.filter(sync=sync, slot__gte=slot).exists()
