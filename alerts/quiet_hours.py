"""Quiet hours: when a channel takes urgent messages alone. Pure."""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo


def is_quiet(now: datetime, begin: time | None, end: time | None, zone: str) -> bool:
    """Whether it is between begin and end in that zone; an end before the begin is tomorrow's.

    The beginning belongs to the quiet hours, the end does not. Without both there are none.
    """
    if begin is None or end is None or begin == end:
        return False
    local = now.astimezone(ZoneInfo(zone)).time()
    if begin < end:
        return begin <= local < end
    return local >= begin or local < end
