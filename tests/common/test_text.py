"""Texts that several readers share, as each of them reads their times."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.utils import timezone

from common.text import in_viewer_zone

WRITTEN = datetime(2026, 3, 28, 23, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("down since 23:05 UTC: wait", "down since 00:05 CET: wait"),
        ("until 2026-03-29 12:00 UTC", "until 14:00 CEST"),  # the day on which it is read
        ("at 2026-03-27 12:00 UTC", "at 2026-03-27 13:00 CET"),
        ("from 22:00 UTC to 23:30 UTC", "from 2026-03-28 23:00 CET to 00:30 CET"),
        ("at 16:01:09 UTC, less", "at 2026-03-28 17:01:09 CET, less"),
        ("since 2026-03-29 06:01:09 UTC", "since 08:01:09 CEST"),
        ("until 14:00 CEST", "until 14:00 CEST"),
        ("2026-02-30 10:00 UTC", "2026-02-30 10:00 UTC"),  # somebody else's
        ("at 99:00 UTC, run 5:30", "at 99:00 UTC, run 5:30"),
    ],
)
def test_times_in_utc_become_the_viewers(words: str, shown: str) -> None:
    with (
        timezone.override(ZoneInfo("Europe/Berlin")),
        time_machine.travel(WRITTEN.replace(day=29, hour=8), tick=False),
    ):
        assert in_viewer_zone(words, WRITTEN) == shown
