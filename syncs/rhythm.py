"""The planned times of a cron line. Five fields, always UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from croniter import croniter


def is_valid(cron: str) -> bool:
    return len(cron.split()) == 5 and croniter.is_valid(cron)


def next_slots(cron: str, after: datetime, count: int = 1) -> list[datetime]:
    """The first planned times later than `after`."""
    times = croniter(cron, after.astimezone(UTC))
    return [times.get_next(datetime) for _ in range(count)]


def previous_slot(cron: str, before: datetime) -> datetime:
    """The last planned time earlier than `before`."""
    slot: datetime = croniter(cron, before.astimezone(UTC)).get_prev(datetime)
    return slot


def period(cron: str, at: datetime) -> timedelta:
    """The time between the two planned times that follow `at`."""
    first, second = next_slots(cron, at, 2)
    return second - first
