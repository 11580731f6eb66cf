from datetime import UTC, datetime, timedelta, timezone

import pytest

from syncs import rhythm


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_next_slots_are_later_than_the_moment() -> None:
    noon = at("2026-11-22 12:00")
    assert rhythm.next_slots("*/15 * * * *", noon, 2) == [
        at("2026-11-22 12:15"),
        at("2026-11-22 12:30"),
    ]


def test_slots_are_utc_whatever_the_zone_of_the_moment() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2026, 11, 22, 7, 0, tzinfo=kolkata)
    slot = rhythm.next_slots("0 2 * * *", moment)[0]
    assert slot == at("2026-11-22 02:00")
    assert slot.utcoffset() == timedelta()


def test_previous_slot_is_earlier_than_the_moment() -> None:
    assert rhythm.previous_slot("0 * * * *", at("2026-11-22 12:00")) == at("2026-11-22 11:00")


@pytest.mark.parametrize(
    ("cron", "seconds"), [("* * * * *", 60), ("*/15 * * * *", 900), ("0 2 * * *", 86400)]
)
def test_period(cron: str, seconds: int) -> None:
    assert rhythm.period(cron, at("2026-11-22 12:07")).total_seconds() == seconds


@pytest.mark.parametrize("cron", ["", "* * * *", "61 * * * *", "* * * * * *", "@hourly", "x"])
def test_what_is_no_cron_line_of_five_fields_is_refused(cron: str) -> None:
    assert not rhythm.is_valid(cron)


def test_a_cron_line_is_valid() -> None:
    assert rhythm.is_valid("*/15 2-4 * * 1,3")
