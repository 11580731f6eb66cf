"""A pause of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

UNTIL = "until "


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
