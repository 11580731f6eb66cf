"""Preview of a frequency: as text, as times, and as warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from django.conf import settings
from django.utils import timezone

from common.text import format_duration
from syncs.engine import registry
from syncs.engine.registry import Sync
from syncs.schedules import crontab, descriptions, store
from syncs.status import freshness, recent

SHOWN = 5  # next scheduled times
HEAVY = timedelta(minutes=1)  # runs that usually take longer should not begin together
COMPARED = 200  # scheduled times of the rarer one among which they are looked for


@dataclass(frozen=True)
class Preview:
    text: str
    times: tuple[datetime, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """The usual durations of syncs, and the cron expressions of those that are on."""

    usual: Mapping[str, timedelta]
    crons: Mapping[str, str]

    @classmethod
    def read(cls) -> Known:
        runs = recent.recent_runs([sync.name for sync in registry.scheduled_syncs()])
        return cls(
            usual={name: timedelta(seconds=of.usual_seconds) for name, of in runs.items()},
            crons={
                name: plan.cron
                for name, plans in store.planned().items()
                for plan in plans
                if not plan.off
            },
        )


def preview(sync: Sync, cron: str, grace_seconds: int | None = None) -> Preview:
    """Return what a user sees of a frequency before it is stored."""
    now = timezone.now()
    zone = timezone.get_current_timezone()
    return Preview(
        text=descriptions.describe(cron),
        times=tuple(crontab.next_slots(cron, now, SHOWN)),
        warnings=tuple(warnings(sync, cron, Known.read(), zone, now, grace_seconds)),
    )


def warnings(
    sync: Sync,
    cron: str,
    known: Known,
    zone: tzinfo,
    now: datetime,
    grace_seconds: int | None = None,
) -> Iterator[str]:
    """Yield the effects of a frequency that a user may not want."""
    usual = known.usual.get(sync.name, timedelta())
    shortest, longest = crontab.gaps(cron, now)
    limit = freshness_limit(sync, now, grace_seconds)
    if longest + usual > limit:
        yield (
            f"Readers may see what is {format_duration(longest + usual)} old: the longest wait "
            "between two runs and their usual duration. "
            f"The freshness limit is {format_duration(limit)}."
        )
    if usual > shortest:
        yield (
            f"A run usually takes {format_duration(usual)}, and the next is scheduled after "
            f"{format_duration(shortest)}: it would find the sync running and be skipped."
        )
    yield from _heavy_together(sync, cron, known, now)
    yield from descriptions.clock_changes(cron, zone, now)


def freshness_limit(sync: Sync, now: datetime, grace_seconds: int | None = None) -> timedelta:
    """How old what readers see may get: the period expected of the sync, and the grace."""
    expected = settings.RAINBO_EXPECTED_PERIOD
    period = timedelta(seconds=expected) if expected else crontab.period(sync.cron, now)
    if grace_seconds is not None:
        return period + timedelta(seconds=grace_seconds)
    grace = freshness.grace(period, settings.RAINBO_GRACE_SECONDS, settings.RAINBO_GRACE_PERCENT)
    return period + grace


def _heavy_together(sync: Sync, cron: str, known: Known, now: datetime) -> Iterator[str]:
    if known.usual.get(sync.name, timedelta()) < HEAVY:
        return
    for other in registry.scheduled_syncs():
        usual = known.usual.get(other.name, timedelta())
        if other.name == sync.name or other.name not in known.crons or usual < HEAVY:
            continue
        if both := _first_together(cron, known.crons[other.name], now):
            yield (
                f"{other.title}, which usually takes {format_duration(usual)}, starts at the same "
                f"time, next at {both:%Y-%m-%d %H:%M} UTC: both would be slower."
            )


def _first_together(one: str, other: str, now: datetime) -> datetime | None:
    """Return the first scheduled time of both, among the next of the less frequent one."""

    def last(cron: str) -> datetime:
        return crontab.next_slots(cron, now, COMPARED)[-1]

    often, rarer = sorted((one, other), key=last)
    slots = crontab.next_slots(rarer, now, COMPARED)
    return next((slot for slot in slots if crontab.matches(often, slot)), None)
