"""The ends of a pause that have a name."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from syncs.schedules.pause import PauseEnd

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("end", "now", "expected"),
    [
        (PauseEnd.HOUR, "2026-07-01T12:30", "2026-07-01T13:30"),
        (PauseEnd.TOMORROW, "2026-07-01T12:30", "2026-07-02T06:00"),
        # 23:30 UTC is the next day in Berlin already.
        (PauseEnd.TOMORROW, "2026-07-01T23:30", "2026-07-03T06:00"),
        # In that night the clocks go back, or forward.
        (PauseEnd.TOMORROW, "2026-10-24T12:00", "2026-10-25T07:00"),
        (PauseEnd.TOMORROW, "2026-03-28T12:00", "2026-03-29T06:00"),
        (PauseEnd.MONDAY, "2026-07-01T12:30", "2026-07-06T06:00"),  # a Wednesday
        (PauseEnd.MONDAY, "2026-07-05T21:59", "2026-07-06T06:00"),
        (PauseEnd.MONDAY, "2026-07-05T22:00", "2026-07-13T06:00"),  # Monday in Berlin
    ],
)
def test_an_end_is_in_the_zone_of_who_names_it(end: PauseEnd, now: str, expected: str) -> None:
    found = end.after(datetime.fromisoformat(now).replace(tzinfo=UTC), BERLIN)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)
