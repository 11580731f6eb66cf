"""Descriptions of cron lines, and the days on which daylight saving time affects them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from syncs.schedules import crontab
from syncs.schedules.presets import WEEKDAYS, Choice, PresetKind, from_cron

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
HOUR = timedelta(hours=1)
LOOKED_AHEAD = timedelta(days=370)


def describe(cron: str) -> str:
    """Describe a cron line as text."""
    cron = crontab.normalize(cron)
    choice = from_cron(cron)
    return _expression(cron) if choice.kind is PresetKind.CRON else _simple(choice)


def clock_changes(cron: str, zone: tzinfo, now: datetime) -> list[str]:
    """Return the daylight saving changes within a year that affect a slot.

    None for schedules that run hourly or more often: one run more or less surprises nobody.
    """
    _, longest = crontab.gaps(cron, now)
    if longest <= HOUR:
        return []
    found = []
    for change in _changes(zone, now):
        # In these two hours clocks show a time that they skip or repeat.
        slot = crontab.next_slots(cron, change - HOUR - timedelta(seconds=1))[0]
        if slot < change + HOUR:
            found.append(_describe_change(slot, change, zone))
    return found


def _changes(zone: tzinfo, now: datetime) -> list[datetime]:
    """Return the hours within the next year at which the zone's offset changes."""
    found = []
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    before = hour.astimezone(zone).utcoffset()
    for day in range(1, LOOKED_AHEAD.days + 1):
        if (hour + timedelta(days=day)).astimezone(zone).utcoffset() == before:
            continue
        start = hour + timedelta(days=day - 1)
        hours = [start + n * HOUR for n in range(1, 25)]
        found.append(next(h for h in hours if h.astimezone(zone).utcoffset() != before))
        before = (hour + timedelta(days=day)).astimezone(zone).utcoffset()
    return found


def _describe_change(slot: datetime, change: datetime, zone: tzinfo) -> str:
    local = slot.astimezone(zone)
    back = (change - HOUR).astimezone(zone).utcoffset() > change.astimezone(zone).utcoffset()  # type: ignore[operator]  # zones of dates have offsets
    which = "repeats" if back else "skips"
    return (
        f"On {local:%Y-%m-%d} {zone} {which} an hour at that time: it runs once, at "
        f"{slot:%H:%M} UTC, which clocks there show as {local:%H:%M %Z}."
    )


def _simple(choice: Choice) -> str:
    at = f"at {choice.at:%H:%M} UTC"
    texts = {
        PresetKind.HOURLY: f"every hour at minute {choice.minute}",
        PresetKind.HOURS: f"every {choice.hours} hours from 00:{choice.minute:02} UTC",
        PresetKind.DAILY: f"every day {at}",
        PresetKind.WEEKLY: f"every {WEEKDAYS[choice.weekday]} {at}",
        PresetKind.MONTHLY: f"on day {choice.day} of every month {at}",
    }
    return texts.get(choice.kind) or choice.kind.label


def _expression(cron: str) -> str:
    minute, hour, day, month, weekday = cron.split()
    days = [
        f"on {_named('day', day)} of the month" if day != "*" else "",
        f"on {_named('weekday', weekday, (*WEEKDAYS, WEEKDAYS[0]))}" if weekday != "*" else "",
    ]
    clock = [
        "every minute" if minute == "*" else f"at {_named('minute', minute)}",
        "of every hour" if hour == "*" else f"of {_named('hour', hour)} UTC",
    ]
    months = f"in {_named('month', month, ('', *MONTHS))}" if month != "*" else ""
    return ", ".join(filter(None, [" ".join(clock), " or ".join(filter(None, days)), months]))


def _named(unit: str, field: str, names: tuple[str, ...] = ()) -> str:
    """`hour 2 to 4 and 7`, `every 2nd hour`, `Monday and Friday`."""
    parts = [_part(unit, part, names) for part in field.split(",")]
    listed = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    return listed if names or parts[0].startswith("every") else f"{unit} {listed}"


def _part(unit: str, part: str, names: tuple[str, ...]) -> str:
    span, _, step = part.partition("/")
    every = f"every {_ordinal(int(step))} {unit}" if step else f"every {unit}"
    if span == "*":
        return every
    first, _, last = span.partition("-")
    text = " to ".join(names[int(end)] if names else end for end in (first, last) if end)
    return f"{every} from {text}" if step else text


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number not in (11, 12, 13) else 0)
    return f"{number}{ending or 'th'}"
