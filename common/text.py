"""Text for pages, messages and reports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from common.errors import UsageError

LONGEST = 200  # characters of an error inside a sentence
LENGTH = re.compile(r"(\d{1,5})(min|h|d)")
WRITTEN = re.compile(
    r"(?<![\d:])(?:(\d{4}-\d\d-\d\d) )?((?:[01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?) UTC\b"
)
UNITS = {"min": "minutes", "h": "hours", "d": "days"}


def counted(count: int | None, unit: str, *, more: bool = False) -> str:
    """Return `14 tenants`; None is an unknown number."""
    if count is None:
        return f"an unknown number of {unit}s"
    phrase = f"{count:,} {unit}" if count == 1 and not more else f"{count:,} {unit}s"
    return f"more than {phrase}" if more else phrase


def share(part: int, whole: int) -> str:
    """Return `97.9 %` of a whole that isn't 0; never 100 % unless it is all of them."""
    tenths = part * 1000 // whole
    return f"{tenths / 10:.1f} %" if tenths % 10 else f"{tenths // 10} %"


def sentence(text: str) -> str:
    """Return the text with a capital and a full stop, unless it is a question."""
    stop = "" if text.endswith("?") else "."
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}{stop}"


def without_subject(words: str, name: str) -> str:
    """`did not answer` of `rds2 did not answer`: for words that follow the name already."""
    return re.sub(rf"(^|: ){re.escape(name)} ", r"\1", words)


def truncate(text: str, longest: int = LONGEST) -> str:
    """The beginning of a text on one line, its end cut visibly when it is too long."""
    return clip(" ".join(text.split()), longest)


def clip(text: str, longest: int) -> str:
    """The beginning of a text as it is, its end cut visibly when it is too long."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def format_clock(at: datetime, now: datetime, *, seconds: bool = False) -> str:
    """`13:05 UTC` in the viewer's zone, with the day unless it is today."""
    local, today = timezone.localtime(at), timezone.localtime(now).date()
    clock = f"{local:%H:%M:%S %Z}" if seconds else f"{local:%H:%M %Z}"
    return clock if local.date() == today else f"{local:%Y-%m-%d} {clock}"


def in_viewer_zone(words: str, written: datetime) -> str:
    """A text that RAINBO keeps, or several readers share, with its times as the viewer reads them.

    Such texts are in UTC, as `format_clock` writes it outside of pages: a time without a day is of
    the day on which the text was written.
    """

    def local(found: re.Match[str]) -> str:
        day = found[1] or f"{written.astimezone(UTC):%Y-%m-%d}"
        try:
            at = datetime.fromisoformat(f"{day} {found[2]}+00:00")
        except ValueError:  # somebody else's words, such as 2026-02-30
            return found[0]
        return format_clock(at, timezone.now(), seconds=found[3] is not None)

    return WRITTEN.sub(local, words)


def since(at: datetime | None, now: datetime) -> str:
    return f" since {format_clock(at, now)}" if at else ""


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def parse_length(text: str) -> timedelta:
    """`30min`, `4h`, `7d`. Raises UsageError."""
    found = LENGTH.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no length of time: use 30min, 4h or 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def format_duration(length: timedelta) -> str:
    """`3 s`, `5 min`, `2 h 10 min`, `4 d 3 h`: the two largest units, the second if not zero."""
    seconds = int(length.total_seconds())
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for at, (unit, size) in enumerate(units):
        if seconds >= size:
            rest, name = (seconds % size, units[at + 1]) if at + 1 < len(units) else (0, ("", 1))
            more = f" {rest // name[1]} {name[0]}" if rest // name[1] and unit != "min" else ""
            return f"{seconds // size} {unit}{more}"
    return "0 s"
