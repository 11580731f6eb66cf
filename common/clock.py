"""The database's time, so that servers whose clocks differ agree."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection


def database_now() -> datetime:
    """Return the current time of RAINBO's own database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


def iso(at: datetime | None) -> str | None:
    """A time as documents carry it: ISO 8601, or null."""
    return at.isoformat() if at else None


def from_iso(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True)
class Clock:
    """The own database's time, carried on by a monotonic clock; never ahead of it."""

    anchor: datetime
    monotonic: float

    @classmethod
    def read(cls) -> Clock:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            return cls(cursor.fetchone()[0], time.monotonic())

    def now(self) -> datetime:
        return self.at(time.monotonic())

    def at(self, monotonic: float) -> datetime:
        """The time at a moment of the monotonic clock."""
        return self.anchor + timedelta(seconds=monotonic - self.monotonic)
