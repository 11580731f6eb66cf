"""A pause of a schedule, and the ends that people choose from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum

UNTIL = "until "
MORNING = time(8)
MONDAY = 0  # as `date.weekday` counts


class PauseEnd(StrEnum):
    """An end that is named, in the zone of the person who names it."""

    HOUR = "hour"
    TOMORROW = "tomorrow"
    MONDAY = "monday"

    @property
    def label(self) -> str:
        return _LABELS[self]

    def after(self, now: datetime, zone: tzinfo) -> datetime:
        """Return the moment of this end, seen from `now`."""
        if self is PauseEnd.HOUR:
            return now + timedelta(hours=1)
        today = now.astimezone(zone).date()
        # On a Monday, the next one
        days = 1 if self is PauseEnd.TOMORROW else 7 - (today.weekday() - MONDAY)
        return datetime.combine(today + timedelta(days=days), MORNING, zone)


_LABELS = {
    PauseEnd.HOUR: "for 1 hour",
    PauseEnd.TOMORROW: "until tomorrow 08:00",
    PauseEnd.MONDAY: "until Monday 08:00",
}


@dataclass(frozen=True)
class Pause:
    """A time without runs that ends by itself, with its reason."""

    until: datetime
    reason: str = ""

    def in_words(self, now: datetime) -> str:
        """`until 14:00 UTC: reason`, with the day unless it is today."""
        until = self.until.astimezone(UTC)
        same_day = until.date() == now.astimezone(UTC).date()
        when = f"{until:%H:%M}" if same_day else f"{until:%Y-%m-%d %H:%M}"
        return f"{UNTIL}{when} UTC" + (f": {self.reason}" if self.reason else "")
