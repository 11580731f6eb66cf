"""What Django formats itself looks like what we format."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from django.contrib.admin.utils import display_for_value
from django.utils import timezone

from common import markup

NOON = datetime(2026, 9, 5, 12, 4, tzinfo=UTC)


def test_times_of_plain_admin_pages_have_the_day_and_the_zone() -> None:
    with timezone.override(ZoneInfo("Europe/Berlin")):
        assert display_for_value(NOON, "") == "2026-09-05 14:04:00 CEST" == markup.exact(NOON)
    assert display_for_value(date(2026, 9, 5), "") == "2026-09-05"
