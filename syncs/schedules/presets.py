"""The frequencies that users choose from, and their cron lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time
from enum import StrEnum

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
HOURS = (2, 3, 4, 6, 8, 12)  # those that divide a day, so that the steps stay equal
LAST_DAY = 28  # of a month: later ones don't come in every month


class PresetKind(StrEnum):
    MINUTELY = "1"
    EVERY_5 = "5"
    EVERY_10 = "10"
    EVERY_15 = "15"
    EVERY_30 = "30"
    HOURLY = "hourly"
    HOURS = "hours"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    CRON = "cron"

    @property
    def label(self) -> str:
        return _LABELS.get(self) or f"every {self.value} minutes"


_LABELS = {
    PresetKind.MINUTELY: "every minute",
    PresetKind.HOURLY: "every hour",
    PresetKind.HOURS: "every few hours",
    PresetKind.DAILY: "every day",
    PresetKind.WEEKLY: "every week",
    PresetKind.MONTHLY: "every month",
    PresetKind.CRON: "a cron expression",
}
# The further fields of Choice that a kind needs.
NEEDS: dict[PresetKind, tuple[str, ...]] = {
    PresetKind.HOURLY: ("minute",),
    PresetKind.HOURS: ("hours", "minute"),
    PresetKind.DAILY: ("at",),
    PresetKind.WEEKLY: ("weekday", "at"),
    PresetKind.MONTHLY: ("day", "at"),
    PresetKind.CRON: ("cron",),
}


@dataclass(frozen=True)
class Choice:
    """A frequency as a user chooses it. `at` and `minute` are UTC; weekday 0 is Sunday."""

    kind: PresetKind
    minute: int = 0
    hours: int = HOURS[0]
    at: time = time(2)
    weekday: int = 1
    day: int = 1
    cron: str = ""

    def as_cron(self) -> str:
        clock = f"{self.at.minute} {self.at.hour}"
        lines = {
            PresetKind.MINUTELY: "* * * * *",
            PresetKind.HOURLY: f"{self.minute} * * * *",
            PresetKind.HOURS: f"{self.minute} */{self.hours} * * *",
            PresetKind.DAILY: f"{clock} * * *",
            PresetKind.WEEKLY: f"{clock} * * {self.weekday}",
            PresetKind.MONTHLY: f"{clock} {self.day} * *",
            PresetKind.CRON: self.cron,
        }
        return lines.get(self.kind) or f"*/{self.kind.value} * * * *"


def from_cron(cron: str) -> Choice:
    """Return the choice for a cron line; a cron expression if it is none of the presets."""
    for pattern, read in _READ:
        if match := re.fullmatch(pattern, cron):
            choice = read(*map(int, match.groups()))
            if choice.as_cron() == cron:
                return choice
    return Choice(PresetKind.CRON, cron=cron)


_READ: tuple[tuple[str, Callable[..., Choice]], ...] = (
    (r"\* \* \* \* \*", lambda: Choice(PresetKind.MINUTELY)),
    (r"\*/(5|10|15|30) \* \* \* \*", lambda n: Choice(PresetKind(str(n)))),
    (r"(\d+) \* \* \* \*", lambda m: Choice(PresetKind.HOURLY, minute=m)),
    (r"(\d+) \*/(2|3|4|6|8|12) \* \* \*", lambda m, n: Choice(PresetKind.HOURS, minute=m, hours=n)),
    (r"(\d+) (\d+) \* \* \*", lambda m, h: Choice(PresetKind.DAILY, at=time(h, m))),
    (
        r"(\d+) (\d+) \* \* ([0-6])",
        lambda m, h, d: Choice(PresetKind.WEEKLY, at=time(h, m), weekday=d),
    ),
    (
        r"(\d+) (\d+) (1?\d|2[0-8]) \* \*",
        lambda m, h, d: Choice(PresetKind.MONTHLY, at=time(h, m), day=d),
    ),
)
