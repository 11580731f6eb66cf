"""The database's time, so that servers whose clocks differ agree."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

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


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(column: str) -> str:
    """Return the SQL of a time as a whole number of microseconds, for `from_microseconds`.

    Of a time itself Django's reader costs ten times as much, which counts with hundreds of rows.
    """
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"


def from_microseconds(count: int | None) -> datetime | None:
    return None if count is None else _EPOCH + timedelta(microseconds=count)


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
