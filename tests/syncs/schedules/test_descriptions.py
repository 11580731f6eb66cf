from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from syncs.schedules import crontab
from syncs.schedules.descriptions import clock_changes, describe

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("5 * * * *", "every hour at minute 5"),
        ("5 */6 * * *", "every 6 hours from 00:05 UTC"),
        ("30 1 * * *", "every day at 01:30 UTC"),
        ("0 2 * * 0", "every Sunday at 02:00 UTC"),
        ("0 3 15 * *", "on day 15 of every month at 03:00 UTC"),
        ("*/20 2-4 * * 1,3", "at every 20th minute of hour 2 to 4 UTC, on Monday and Wednesday"),
        (
            "0 0 1 1 1",
            "at minute 0 of hour 0 UTC, on day 1 of the month or on Monday, in January",
        ),
        (
            "7,27/2 * * */3 5",
            "at minute 7 and every 2nd minute from 27 of every hour, on Friday, in every 3rd month",
        ),
        ("* 6-18 * * 7", "every minute of hour 6 to 18 UTC, on Sunday"),
    ],
)
def test_a_rhythm_in_words(cron: str, words: str) -> None:
    assert describe(cron) == words


def test_a_time_in_the_skipped_and_in_the_repeated_hour_is_told() -> None:
    skipped, repeated = clock_changes("30 1 * * *", BERLIN, NOW)
    assert skipped == (
        "On 2027-03-28 Europe/Berlin skips an hour at that time: it runs once, at 01:30 UTC, "
        "which clocks there show as 03:30 CEST."
    )
    assert repeated.startswith("On 2027-10-31 Europe/Berlin repeats an hour")
    assert repeated.endswith("02:30 CET.")


@pytest.mark.parametrize("minute", [0, 10, 40])
def test_it_is_told_in_whatever_minute_one_looks(minute: int) -> None:
    now = datetime(2026, 11, 26, 1, minute, tzinfo=UTC)
    assert len(clock_changes("0,30 1 * * *", BERLIN, now)) == 2


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("0 2 * * *", "Europe/Berlin"),  # after both changes
        ("30 1 * * *", "UTC"),
        ("30 1 * * *", "Asia/Kolkata"),
        ("*/15 * * * *", "Europe/Berlin"),  # nobody misses one of many
        ("30 1 * * 1", "Europe/Berlin"),  # changes come on Sundays
    ],
)
def test_other_times_are_not(cron: str, zone: str) -> None:
    assert clock_changes(cron, ZoneInfo(zone), NOW) == []


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("cron", ["30 1 * * *", "30 6 * * *", "0 * * * *", "*/30 * * * *"])
def test_over_a_year_with_both_changes_no_slot_comes_twice_and_none_is_missing(
    cron: str, zone: str
) -> None:
    step = crontab.period(cron, NOW)
    count = int(timedelta(days=366) / step)
    slots = crontab.next_slots(cron, NOW.astimezone(ZoneInfo(zone)), count)
    assert len(set(slots)) == count
    assert {later - earlier for earlier, later in pairwise(slots)} == {step}
