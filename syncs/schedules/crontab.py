"""Cron lines and their slots (scheduled times). Five fields, always UTC.

croniter evaluates them, here and in django-q, and reads some lines otherwise than crontab(5) says:
`5-5` as the whole field, `20-8/3` with a gap where it wraps. `normalize` rewrites lines so that
both agree; `find_problem` rejects the rest. tests/syncs/schedules/cron_manual.py compares.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from croniter import croniter

LONGEST = 100  # characters of a stored cron line

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Field(NamedTuple):
    name: str
    low: int
    high: int
    number: str  # a pattern without leading zeros
    names: tuple[str, ...] = ()


FIELDS = (
    Field("minute", 0, 59, "([0-9]|[1-5][0-9])"),
    Field("hour", 0, 23, "([0-9]|1[0-9]|2[0-3])"),
    Field("day of the month", 1, 31, "([1-9]|[12][0-9]|3[01])"),
    Field("month", 1, 12, "([1-9]|1[0-2])", MONTHS),
    Field("weekday", 0, 6, "[0-7]", WEEKDAYS),
)
_STEP = "/([2-9]|[1-9][0-9])"


def _shape(field: Field) -> str:
    part = rf"(\*{_STEP}|{field.number}(-{field.number}({_STEP})?)?)"
    return rf"(\*|{part}(,{part})*)"


# A constraint on the stored rows checks the same: migration 0016, and any that replaces it.
SHAPES = tuple(_shape(field) for field in FIELDS)
_PART = re.compile(r"(?:(\*)|([0-9]+)(?:-([0-9]+))?)(?:/([0-9]+))?")


def normalize(cron: str) -> str:
    """Return the line as it is stored: single spaces, numbers, ranges that croniter reads right."""
    fields = cron.upper().split()
    if len(fields) == len(FIELDS):
        fields = [_normal_field(text, field) for text, field in zip(fields, FIELDS, strict=True)]
    return " ".join(fields)


def is_valid(cron: str) -> bool:
    """Whether the line can be stored: it is normalized and matches some date."""
    return not find_problem(cron) and normalize(cron) == cron


def find_problem(cron: str) -> str:
    """Return what is wrong with a line, and what to write instead; empty if nothing is."""
    fields = normalize(cron).split(" ")
    if len(fields) != len(FIELDS):
        return "A cron expression has five fields: minute, hour, day of the month, month, weekday."
    if len(" ".join(fields)) > LONGEST:
        return f"A cron expression can have up to {LONGEST} characters."
    for text, field, shape in zip(fields, FIELDS, SHAPES, strict=True):
        if re.search("(^|,)[0-9]+/[1-9]", text):
            return f"In cron, a step needs a range or *. Write: {replace_ambiguous(cron)}"
        if not re.fullmatch(shape, text):
            high = 7 if field.names == WEEKDAYS else field.high
            return (
                f"“{text}” is invalid as {field.name}: use * or numbers from {field.low} to "
                f"{high}, with ranges, lists and steps."
            )
    _, _, day, month, weekday = fields
    if _requires_both_days(day, weekday):
        return (
            "If day of the month or weekday begins with *, cron runs only when both match, which "
            f"can't be scheduled here. To run when either matches, write: {replace_ambiguous(cron)}"
        )
    return "" if _comes(day, month, weekday) else "None of these months has such a day."


def replace_ambiguous(cron: str) -> str:
    """Return the line with what croniter and cron read differently written as croniter does."""
    fields = normalize(cron).split(" ")
    for index, field in enumerate(FIELDS):
        fields[index] = re.sub("(^|,)([0-9]+)/", rf"\1\2-{field.high}/", fields[index])
    if _requires_both_days(fields[2], fields[4]):
        for index in (2, 4):
            written = f"{FIELDS[index].low}-{FIELDS[index].high}"
            fields[index] = re.sub(r"\*", written, fields[index])
    return normalize(" ".join(fields))


def next_slots(cron: str, after: datetime, count: int = 1) -> list[datetime]:
    """Return the first slots later than `after`."""
    minute = after.astimezone(UTC).replace(second=0, microsecond=0)
    return list(_slots_after(cron, minute, count))


def previous_slot(cron: str, before: datetime) -> datetime:
    """Return the last slot earlier than `before`."""
    slot: datetime = croniter(cron, before.astimezone(UTC)).get_prev(datetime)
    return slot


def matches(cron: str, moment: datetime) -> bool:
    """Whether this time is one of its slots."""
    return previous_slot(cron, moment + timedelta(microseconds=1)) == moment


def period(cron: str, at: datetime) -> timedelta:
    """Return the time between the two slots that follow `at`."""
    return _period(cron, at.replace(second=0, microsecond=0))


def gaps(cron: str, at: datetime, count: int = 200) -> tuple[timedelta, timedelta]:
    """Return the shortest and the longest time between consecutive slots."""
    slots = next_slots(cron, at, count)
    lengths = [later - earlier for earlier, later in pairwise(slots)]
    return min(lengths), max(lengths)


@lru_cache(maxsize=1024)
def _period(cron: str, minute: datetime) -> timedelta:
    first, second = next_slots(cron, minute, 2)
    return second - first


@lru_cache(maxsize=1024)
def _slots_after(cron: str, minute: datetime, count: int) -> tuple[datetime, ...]:
    """Cached per minute: hundreds of instances are confirmed in one."""
    times = croniter(cron, minute)
    return tuple(times.get_next(datetime) for _ in range(count))


def _normal_field(text: str, field: Field) -> str:
    text = re.sub(r"\b0+([0-9])", r"\1", text)
    for number, name in enumerate(field.names, field.low):
        text = re.sub(rf"\b{name}\b", str(number), text)
    parts = [_normal_part(part, field) for part in text.split(",")]
    if "*" not in parts:
        return ",".join(parts)
    # Only a field that begins with * leaves the choice of days to the other one.
    return "*" if text.startswith("*") else f"{field.low}-{field.high}"


def _normal_part(part: str, field: Field) -> str:
    match = _PART.fullmatch(part)
    star, first, last, step = match.groups() if match else (None, None, None, None)
    if step == "1" and (star or last):
        part, step = part.removesuffix("/1"), None
    if first is None or last is None or step == "0":
        return part
    if first == last:
        return first
    if field.names == WEEKDAYS and first == "7":
        return _normal_part("0" + part.removeprefix("7"), field)
    return part if step is None or int(first) < int(last) else _unwrapped(first, last, step, field)


def _unwrapped(first: str, last: str, step: str, field: Field) -> str:
    """Return `20-23/3,2-8/3` for `20-8/3`."""
    if not field.low <= int(last) < int(first) <= field.high:
        return f"{first}-{last}/{step}"  # find_problem says why it is invalid
    start = field.low - (field.high - int(first) + 1) % -int(step)
    parts = [f"{first}-{field.high}/{step}", f"{start}-{last}/{step}"]
    kept = parts if start <= int(last) else parts[:1]
    return ",".join(_normal_part(part, field) for part in kept)


def _requires_both_days(day: str, weekday: str) -> bool:
    return "*" not in (day, weekday) and (day.startswith("*") or weekday.startswith("*"))


def _comes(day: str, month: str, weekday: str) -> bool:
    """Whether a month has such a day. With a weekday given too, either will do."""
    if weekday != "*":
        return True
    first = min(_values(day, FIELDS[2]))
    return any(first <= DAYS_OF_MONTH[number - 1] for number in _values(month, FIELDS[3]))


def _values(text: str, field: Field) -> set[int]:
    """Return the numbers that a normalized field names."""
    found: set[int] = set()
    for part in text.split(","):
        star, first, last, step = _PART.fullmatch(part).groups()  # type: ignore[union-attr]  # normalized
        low, high = (field.low, field.high) if star else (int(first), int(last or first))
        if low > high:
            found |= {*range(low, field.high + 1), *range(field.low, high + 1)}
        else:
            found |= set(range(low, high + 1, int(step or 1)))
    return found
