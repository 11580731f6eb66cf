from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from syncs.dispatch import reconcile
from syncs.engine import registry
from syncs.reports.schedule_preview import Known, freshness_limit, preview, warnings
from tests.rows import ended_run

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def warned(cron: str, sync: str = "user_routing", **usual_minutes: float) -> str:
    known = Known(
        usual={name: timedelta(minutes=minutes) for name, minutes in usual_minutes.items()},
        crons={"tenant_summaries": "0 * * * *", "user_routing": "*/15 * * * *"},
    )
    return "\n".join(warnings(registry.get(sync), cron, known, BERLIN, NOW))


def test_the_usual_frequency_warns_of_nothing() -> None:
    assert warned("*/15 * * * *", user_routing=0.5, tenant_summaries=3) == ""


@pytest.mark.parametrize(
    ("cron", "minutes", "is_shown"),
    [
        ("*/15 * * * *", 1.9, False),
        ("*/15 * * * *", 2.1, True),  # 15 min + 2.1 min are more than 15 min + 2 min of grace
        ("*/30 * * * *", 0, True),
        ("0,5 * * * *", 0, True),  # the longest wait counts
        ("*/5 * * * *", 4, False),
    ],
)
def test_what_would_get_too_old_is_told(cron: str, minutes: float, is_shown: bool) -> None:
    assert ("The freshness limit is 17 min" in warned(cron, user_routing=minutes)) is is_shown


def test_the_expected_period_sets_the_limit(settings: Any) -> None:
    settings.RAINBO_EXPECTED_PERIOD = 7200
    assert freshness_limit(registry.get("user_routing"), NOW) == timedelta(minutes=132)
    assert freshness_limit(registry.get("user_routing"), NOW, 60) == timedelta(minutes=121)


def test_runs_that_would_meet_themselves_are_told() -> None:
    said = warned("*/5 * * * *", user_routing=6)
    assert "A run usually takes 6 min, and the next is scheduled after 5 min" in said


@pytest.mark.parametrize(
    ("cron", "own", "other", "is_shown"),
    [
        ("0 * * * *", 2, 3, True),
        ("30 * * * *", 2, 3, False),
        ("0 * * * *", 0.5, 3, False),
        ("0 * * * *", 2, 0.5, False),
    ],
)
def test_two_heavy_syncs_at_the_same_time_are_told(
    cron: str, own: float, other: float, is_shown: bool
) -> None:
    said = warned(cron, user_routing=own, tenant_summaries=other)
    expected = (
        "Tenant summaries, which usually takes 3 min, starts at the same time, next at 2026-11"
    )
    assert (expected in said) is is_shown


def test_a_rare_frequency_is_compared_with_a_frequent_one_and_the_other_way_round() -> None:
    expected = "starts at the same time, next at 2026-11-23 18:00 UTC"
    for own, other in (("0 18 * * *", "*/5 * * * *"), ("*/5 * * * *", "0 18 * * *")):
        known = Known(
            usual=dict.fromkeys(("user_routing", "ghost_users"), timedelta(minutes=2)),
            crons={"ghost_users": other},
        )
        said = "\n".join(warnings(registry.get("user_routing"), own, known, BERLIN, NOW))
        assert expected in said


def test_a_change_of_summer_time_is_told() -> None:
    assert "On 2027-03-28 Europe/Berlin skips an hour" in warned("30 1 * * *", "ghost_users")


@pytest.mark.django_db
def test_a_preview_reads_what_is_usual_and_what_is_planned() -> None:
    reconcile.reconcile()
    for sync in ("user_routing", "tenant_summaries"):
        ended_run(sync, seconds=90)
    shown = preview(registry.get("user_routing"), "0 * * * *")
    assert shown.text == "every hour at minute 0"
    assert len(shown.times) == 5
    assert any("Tenant summaries, which usually takes 1 min" in text for text in shown.warnings)
