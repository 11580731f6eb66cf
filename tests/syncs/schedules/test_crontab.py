from datetime import UTC, datetime, timedelta, timezone

import pytest

from syncs.schedules import crontab


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_next_slots_are_later_than_the_moment() -> None:
    noon = at("2026-11-22 12:00")
    assert crontab.next_slots("*/15 * * * *", noon, 2) == [
        at("2026-11-22 12:15"),
        at("2026-11-22 12:30"),
    ]


@pytest.mark.parametrize(
    ("clock", "slot"),
    [
        ((12, 14, 59), (12, 15)),
        ((12, 15, 0), (12, 30)),
        ((12, 15, 1), (12, 30)),
        ((12, 31, 0), (12, 45)),
    ],
)
def test_each_minute_has_its_own_next_slot(
    clock: tuple[int, int, int], slot: tuple[int, int]
) -> None:
    after = datetime(2026, 11, 22, *clock, tzinfo=UTC)
    found = crontab.next_slots("*/15 * * * *", after)
    assert found == [datetime(2026, 11, 22, *slot, tzinfo=UTC)]


def test_slots_are_utc_whatever_the_zone_of_the_moment() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2026, 11, 22, 7, 0, tzinfo=kolkata)
    slot = crontab.next_slots("0 2 * * *", moment)[0]
    assert slot == at("2026-11-22 02:00")
    assert slot.utcoffset() == timedelta()


def test_previous_slot_is_earlier_than_the_moment() -> None:
    assert crontab.previous_slot("0 * * * *", at("2026-11-22 12:00")) == at("2026-11-22 11:00")


@pytest.mark.parametrize(("clock", "comes"), [("02:00", True), ("02:01", False), ("03:00", False)])
def test_a_moment_is_a_planned_time_or_none(clock: str, comes: bool) -> None:
    assert crontab.matches("0 2 * * *", at(f"2026-11-22 {clock}")) is comes


@pytest.mark.parametrize(
    ("cron", "seconds"), [("* * * * *", 60), ("*/15 * * * *", 900), ("0 2 * * *", 86400)]
)
def test_period(cron: str, seconds: int) -> None:
    assert crontab.period(cron, at("2026-11-22 12:07")).total_seconds() == seconds


NEVER_COMES = [
    *("", "* * * *", "61 * * * *", "* * * * * *", "@hourly", "x", "*/0 * * * *", "1,,2 * * * *"),
    *("0 0 30 2 *", "0 0 31 2 *", "0 0 31 4,6 *", "0 0 30-31 2 *", "0 0 31 02 *", "* * * * *\n"),
    *("0 0 31 2-2 *", "0 0 31 4-6/2 *", "0 0 30,31 2 */2", "0 0 31 2 *,1"),
    *("0 0 0 * *", "0 24 * * *", "0 0 * 13 *", "0 0 * * 8", "H * * * *", "? * * * *"),
]
SURELY_COMES = [
    *("*/15 2-4 * * 1,3", "0 0 29 2 *", "0 0 31 12 *", "0 0 30 4,6 *", "0 0 31 */2 *"),
    *("0 2 31 1-12 *", "0 2 30 1-4 *", "0 0 31 2 1", "0 0 31 9-11 *", "0 0 30 2 1-5"),
    *("0 0 1 1 *", "59 23 28 12 7", "7,37 * * * *", "0 22-2 * * 5-6", "0 0 30,31 1 *"),
]


@pytest.mark.parametrize("cron", NEVER_COMES)
def test_what_has_no_planned_times_is_refused(cron: str) -> None:
    assert not crontab.is_valid(cron)


@pytest.mark.parametrize("cron", SURELY_COMES)
def test_a_line_of_five_fields_is_taken(cron: str) -> None:
    assert crontab.is_valid(cron)
    assert crontab.next_slots(cron, at("2026-11-22 12:00"))


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("  0 2  * * MON-fri ", "0 2 * * 1-5"),
        ("00 02 01 jan,Dec sun", "0 2 1 1,12 0"),
        ("*/15 * * * *", "*/15 * * * *"),
    ],
)
def test_a_line_is_stored_in_one_way(written: str, stored: str) -> None:
    assert crontab.normalize(written) == stored
    assert crontab.is_valid(stored)
