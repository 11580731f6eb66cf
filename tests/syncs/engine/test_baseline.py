from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncs.engine.baseline import windows
from syncs.engine.window import Window
from syncs.models import SyncRun, TargetState
from tests.rows import run_part

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def of_source(hours_ago: float, rows: int, target: str = "1", **fields: Any) -> SyncRun:
    run = SyncRun.objects.create(
        sync="probe", trigger="schedule", finished_at=NOW - timedelta(hours=hours_ago)
    )
    known = {"state": TargetState.SUCCEEDED, "source": "7/1", "added": 0, "guarded_counts": {}}
    run_part(run, target, total=rows, **known | fields)
    return run


def window(*, shared: bool = False) -> Window:
    return windows("probe", {"1": "7/1"}, NOW, shared=shared)["1"]


def test_a_window_adds_up_what_was_published_within_a_day() -> None:
    of_source(30, 600, guarded_counts={"removed": 99})
    of_source(25, 500, guarded_counts={"removed": 100})
    of_source(20, 490, guarded_counts={"removed": 10, "status": 7})
    of_source(15, 490)
    of_source(10, 470, guarded_counts={"removed": 20})
    assert window() == Window(500, {"removed": 30, "status": 7})


def test_a_window_begins_with_what_a_person_accepted() -> None:
    of_source(25, 500)
    of_source(20, 490, guarded_counts={"removed": 10})
    of_source(10, 300, guarded_counts={"removed": 190}, accepted=True)
    of_source(5, 295, guarded_counts={"removed": 5})
    assert window() == Window(300, {"removed": 5})


def test_without_history_a_window_begins_with_the_first_publish() -> None:
    assert window() == Window()
    of_source(20, 500, added=500)
    of_source(10, 490, guarded_counts={"removed": 10})
    assert window() == Window(500, {"removed": 10})


def test_a_rebuilt_server_begins_a_window() -> None:
    of_source(25, 500, source="6/1")
    of_source(20, 450, source="6/1", guarded_counts={"removed": 50})
    of_source(10, 440, guarded_counts={"removed": 10})
    assert window() == Window(450, {"removed": 10})


def test_another_masters_publish_begins_a_window() -> None:
    """What the master had before another one took over weeks ago is of no account."""
    of_source(900, 5000)
    of_source(600, 100, target="2", source="8/1")
    assert window(shared=True) == Window(100)
    of_source(5, 95, guarded_counts={"removed": 5})
    assert window(shared=True) == Window(100, {"removed": 5})


def test_publishes_of_the_previous_version_count_what_they_removed() -> None:
    of_source(25, 500, source="", guarded_counts=None)
    of_source(20, 480, source="", guarded_counts=None, removed=20)
    assert window() == Window(500, {"removed": 20})


def test_what_rises_makes_up_for_what_fell_before() -> None:
    of_source(25, 500)
    for users in (30, -50, 20, -5):
        of_source(20, 500, guarded_counts={"users": users})
    assert window() == Window(500, {"users": 15})


def test_dry_runs_failures_and_other_targets_are_not_in_a_window() -> None:
    of_source(25, 500)
    of_source(20, None, guarded_counts={"removed": 20})  # type: ignore[arg-type]
    of_source(20, 480, state=TargetState.HELD, guarded_counts={"removed": 20})
    of_source(20, 480, target="2", guarded_counts={"removed": 20})
    assert window() == Window(500)
