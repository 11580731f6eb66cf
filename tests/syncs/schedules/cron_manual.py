"""What crontab(5) of Vixie cron says about a line, minute by minute, without croniter.

A field lists numbers, ranges and steps; `*` stands for first-last; 0 and 7 are Sunday. The day
matches if both day fields do, or, when neither begins with `*`, if either does. What the manual
leaves open is decided as the docs do: a range whose end lies before its start wraps around.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def slots_after(cron: str, moment: datetime, count: int, years: int = 9) -> list[datetime]:
    """Return the slots later than a moment; fewer if the years have fewer."""
    return _first(cron, moment, count, timedelta(days=1), years)


def slots_before(cron: str, moment: datetime, count: int, years: int = 9) -> list[datetime]:
    return _first(cron, moment, count, timedelta(days=-1), years)


def _first(cron: str, moment: datetime, count: int, step: timedelta, years: int) -> list[datetime]:
    found: list[datetime] = []
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    later = step > timedelta()
    minutes, hours, days, months, weekdays = parsed(cron)
    either = not any(field.startswith("*") for field in (cron.split()[2], cron.split()[4]))
    for _ in range(366 * years):
        of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month in months and (of_month or of_week if either else of_month and of_week):
            times = sorted(_times(day, hours, minutes), reverse=not later)
            found += [at for at in times if (at > moment if later else at < moment)]
        if len(found) >= count:
            break
        day += step
    return found[:count]


def _times(day: datetime, hours: set[int], minutes: set[int]) -> list[datetime]:
    return [day.replace(hour=hour, minute=minute) for hour in hours for minute in minutes]


def parsed(cron: str) -> list[set[int]]:
    fields = zip(cron.split(), LIMITS, strict=True)
    minutes, hours, days, months, weekdays = [set(_numbers(*field)) for field in fields]
    return [minutes, hours, days, months, {number % 7 for number in weekdays}]


def _numbers(text: str, limits: tuple[int, int]) -> Iterator[int]:
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        low, high = limits if span == "*" else (int(first), int(last or first))
        whole = [*range(low, limits[1] + 1), *range(limits[0], high + 1)]
        yield from (whole if low > high else range(low, high + 1))[:: int(step or 1)]
