"""Cron lines and their slots (scheduled times). Five fields, always UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from croniter import croniter

LONGEST = 100  # characters of a stored cron line

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

# A constraint on the stored rows checks the same (migration 0012).
_SLOTS = (
    "[0-5]?[0-9]",
    "([01]?[0-9]|2[0-3])",
    "(0?[1-9]|[12][0-9]|3[01])",
    "(0?[1-9]|1[0-2])",
    "[0-7]",
)
_PARTS = tuple(rf"(\*|{slot}(-{slot})?)(/[1-9][0-9]?)?" for slot in _SLOTS)
_SHAPE = re.compile("^" + " ".join(f"{part}(,{part})*" for part in _PARTS) + r"\Z")
# Only days from the 30th on: some month that has them must be named.
_LATE = re.compile("^[^ ]+ [^ ]+ 3[01](-[0-9]+)?(/[0-9]+)?(,3[01](-[0-9]+)?(/[0-9]+)?)* ")
_HAS_31 = re.compile(r"^[^ ]+ [^ ]+ [^ ]+ ([^ ]+,)?(\*(/[0-9]+)?|0?[13578]|10|12)(,[^ ]+)? ")
_HAS_30 = re.compile("^[^ ]+ [^ ]+ ([^ ]+,)?30(,[^ ]+)? ([^ ]+,)?(0?[13-9]|1[0-2])(,[^ ]+)? ")
# Of months that follow each other, one has 31 days. Given a weekday too, either will do.
_RANGE = re.compile(
    "^[^ ]+ [^ ]+ [^ ]+ ([^ ]+,)?((0?[13578]|1[02])-[0-9]+|[0-9]+-(0?[13578]|1[02])"
    "|0?2-(0?[469]|11)|0?4-(0?[69]|11)|0?6-(0?9|11)|0?9-11)(,[^ ]+)? "
)
_WEEKDAY = re.compile("^([^ ]+ ){4}[^ *]+$")


def normalize(cron: str) -> str:
    """Return the line as it is stored: single spaces, and numbers instead of names."""
    fields = re.sub(r"\b0+(\d)", r"\1", cron.upper()).split()
    if len(fields) == 5:
        fields[3] = _numbered(fields[3], MONTHS, 1)
        fields[4] = _numbered(fields[4], WEEKDAYS, 0)
    return " ".join(fields)


def is_valid(cron: str) -> bool:
    """Whether it has five numeric fields and matches some date."""
    if len(cron) > LONGEST or not _SHAPE.match(cron) or not croniter.is_valid(cron):
        return False
    late = _LATE.match(cron)
    return not late or any(come.match(cron) for come in (_HAS_31, _HAS_30, _RANGE, _WEEKDAY))


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
    first, second = next_slots(cron, at, 2)
    return second - first


def gaps(cron: str, at: datetime, count: int = 200) -> tuple[timedelta, timedelta]:
    """Return the shortest and the longest time between consecutive slots."""
    slots = next_slots(cron, at, count)
    lengths = [later - earlier for earlier, later in pairwise(slots)]
    return min(lengths), max(lengths)


@lru_cache(maxsize=1024)
def _slots_after(cron: str, minute: datetime, count: int) -> tuple[datetime, ...]:
    """Cached per minute: hundreds of instances are confirmed in one."""
    times = croniter(cron, minute)
    return tuple(times.get_next(datetime) for _ in range(count))


def _numbered(field: str, names: tuple[str, ...], first: int) -> str:
    for number, name in enumerate(names, first):
        field = re.sub(rf"\b{name}\b", str(number), field)
    return field
