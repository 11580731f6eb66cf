from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncs.engine.baseline import rows_a_day_ago, rows_day_ago
from syncs.models import RunTarget, SyncRun, TargetState

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def published(hours_ago: float, total: int | None, state: str = TargetState.SUCCEEDED) -> SyncRun:
    run = SyncRun.objects.create(
        sync="probe", trigger="schedule", finished_at=NOW - timedelta(hours=hours_ago)
    )
    RunTarget.objects.create(run=run, target="1", label="one", state=state, total=total)
    return run


def test_nothing_is_known_without_history() -> None:
    assert rows_day_ago("probe", "1", NOW) is None


def test_the_last_publish_older_than_a_day_counts() -> None:
    published(50, 500)
    published(25, 400)
    published(2, 300)
    assert rows_day_ago("probe", "1", NOW) == 400


def test_in_the_first_day_the_first_publish_counts() -> None:
    published(20, 500)
    published(2, 300)
    assert rows_day_ago("probe", "1", NOW) == 500


def test_what_a_person_accepted_is_the_new_measure() -> None:
    published(25, 500)
    held = published(3, None, TargetState.HELD)
    held.accepted_by = published(2, 300)
    held.save()
    published(1, 290)
    assert rows_day_ago("probe", "1", NOW) == 300


def test_dry_runs_and_failures_leave_no_measure() -> None:
    published(25, None)
    published(24.5, 400, TargetState.HELD)
    assert rows_day_ago("probe", "1", NOW) is None


def test_many_targets_are_asked_for_at_once() -> None:
    published(25, 400)
    other = published(2, 300)
    RunTarget.objects.create(
        run=other, target="2", label="two", state=TargetState.SUCCEEDED, total=7
    )
    found = rows_a_day_ago("probe", ["1", "2", "3"], NOW)
    assert found == {"1": 400, "2": 7, "3": None}
