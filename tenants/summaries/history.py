"""What syncs left behind of a tenant: its counts day by day, and its changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from syncs.models import SyncRun
from tenants.models import Tenant, TenantChange, TenantDailyCount

DAYS = 90
WEEK = 7
CHANGES = 50


@dataclass(frozen=True)
class Day:
    """One day in UTC as its last sync saw it. None: no sync counted, or it could not."""

    day: date
    users: int | None = None
    locations: int | None = None


@dataclass(frozen=True)
class Past:
    """A change, and whether its run is still there: old runs are pruned."""

    change: TenantChange
    run_is_kept: bool


def daily_counts(tenant: Tenant, now: datetime, days: int = DAYS) -> list[Day]:
    """Every day since the first that was counted, up to today; days without a count among them."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=days - 1)
    rows = TenantDailyCount.objects.filter(tenant=tenant, day__gte=first, day__lte=today)
    counted = rows.values_list("day", "user_count", "location_count")
    known = {day: Day(day, users, locations) for day, users, locations in counted}
    if not known:
        return []
    begin = min(known)
    every = (begin + timedelta(days=n) for n in range((today - begin).days + 1))
    return [known.get(day, Day(day)) for day in every]


def growth(before: int | None, after: int | None) -> str:
    """`1,200 → 1,234 (+34)`; empty if nothing changed or one is not known."""
    if before is None or after is None or before == after:
        return ""
    return f"{before:,} → {after:,} ({after - before:+,})"


def a_week_ago(days: list[Day]) -> Day | None:
    """The last day, up to a week before the last one, on which a sync counted the users."""
    return next((day for day in days[-WEEK - 1 :: -1] if day.users is not None), None)


def changes(tenant: Tenant, most: int = CHANGES) -> tuple[list[Past], bool]:
    """The last changes, the latest first; and whether there are older ones."""
    found = list(TenantChange.objects.filter(tenant=tenant)[: most + 1])
    named = {change.run_id for change in found}
    kept = set(SyncRun.objects.filter(pk__in=named).values_list("pk", flat=True))
    return [Past(change, change.run_id in kept) for change in found[:most]], len(found) > most
