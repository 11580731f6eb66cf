"""Of runs that were all alike the counts remain; of what happened, everything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from common.errors import UsageError
from syncs import hooks
from syncs.engine import pruning, rolling_up
from syncs.engine.rolling_up import failed_in, repeated_parts
from syncs.models import RunLog, RunState, RunTarget, SyncRun, TargetState
from syncs.reports import run_report
from tests.pages import text_of
from tests.rows import ended_run, instance_row, run_part, staff

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
DOWN: dict[str, Any] = {"state": TargetState.FAILED, "error_kind": "connection", "error": "down"}
SLOW: dict[str, Any] = {"state": TargetState.FAILED, "error_kind": "other", "error": "no right"}


@pytest.fixture(autouse=True)
def no_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling_up, "NEWEST", 0)


def history(*parts: dict[str, Any], target: str = "1", days: float = 10) -> list[SyncRun]:
    """A run for each part, a minute after the one before."""
    runs = []
    for number, fields in enumerate(parts):
        ago = days * DAY - timedelta(minutes=number)
        runs.append(ended_run("instance_health", ago=ago))
        run_part(runs[-1], target, **fields)
    return runs


def roll_up(now: datetime | None = None) -> int:
    now = now or timezone.now()
    return sum(repeated_parts(now, now - 2 * DAY))


def stored(runs: list[SyncRun]) -> list[int]:
    """The places of the runs whose part is there."""
    there = set(RunTarget.objects.values_list("run_id", flat=True))
    return [place for place, run in enumerate(runs) if run.pk in there]


def test_parts_with_which_something_began_stay() -> None:
    runs = history({}, {}, {}, DOWN, DOWN, DOWN, {}, {}, DOWN, {})
    assert roll_up() == 5
    assert stored(runs) == [0, 3, 6, 8, 9]
    assert [run.rolled_up for run in SyncRun.objects.order_by("pk")] == [
        *({}, {"succeeded": {"parts": 1}}, {"succeeded": {"parts": 1}}),
        *({}, {"failed": {"parts": 1}}, {"failed": {"parts": 1}}),
        *({}, {"succeeded": {"parts": 1}}, {}, {}),
    ]


def test_it_is_the_same_in_one_batch_or_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling_up, "RUNS", 2)
    runs = history({}, {}, {}, DOWN, DOWN, DOWN, {}, {}, DOWN, {})
    assert roll_up() == 5
    assert stored(runs) == [0, 3, 6, 8, 9]
    assert roll_up() == 0


@pytest.mark.parametrize(
    "event",
    [
        {"added": 1},
        {"changed": 2},
        {"removed": 3},
        {"accepted": True},
        {"withheld": 1},
        {"state": TargetState.HELD},
        {"state": TargetState.WAITING},
        SLOW,
    ],
)
def test_what_happened_stays(event: dict[str, Any]) -> None:
    runs = history({}, event, {})
    assert roll_up() == (0 if event.get("withheld") or "state" in event else 1)
    assert 1 in stored(runs)


def test_failures_that_runs_of_a_week_are_read_for_stay() -> None:
    runs = history(SLOW, SLOW, SLOW)
    assert roll_up() == 0
    assert stored(runs) == [0, 1, 2]


def test_another_sync_of_the_same_target_is_another_history() -> None:
    history({})
    other = ended_run("tenant_summaries", ago=9 * DAY)
    run_part(other)
    assert roll_up() == 0


def test_counts_are_summed_and_unknown_ones_are_none() -> None:
    history({"read": 5, "added": 0}, days=11)
    history({"read": 5, "added": 0}, target="2", days=11)
    run = ended_run("instance_health", ago=9 * DAY)
    run_part(run, "1", read=7, added=0)
    run_part(run, "2", read=8, added=0)
    assert roll_up() == 2
    run.refresh_from_db()
    assert run.rolled_up == {"succeeded": {"parts": 2, "read": 15, "added": 0}}


def test_lines_of_the_log_go_with_the_failure_that_is_counted() -> None:
    first, second = history(DOWN, DOWN)
    for run in (first, second):
        RunLog.objects.create(run=run, target="1", message="down")
        RunLog.objects.create(run=run, message="of the run")
    roll_up()
    lines = RunLog.objects.order_by("pk").values_list("run_id", "message")
    assert [*lines] == [(first.pk, "down"), (first.pk, "of the run"), (second.pk, "of the run")]


def test_young_and_open_runs_are_left_alone() -> None:
    running = history({}, {})
    young = history({}, {}, target="2", days=1.9)
    SyncRun.objects.filter(pk=running[1].pk).update(state=RunState.RUNNING)
    assert roll_up() == 0
    assert stored(young) == [0, 1]
    assert stored(running) == [0, 1]


def test_the_newest_runs_of_a_sync_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages look for each instance's last result in them, also months after the last run."""
    monkeypatch.setattr(rolling_up, "NEWEST", 2)
    runs = history({}, {}, {}, {}, {})
    ended_run("instance_health", RunState.SKIPPED, ago=9 * DAY)
    assert roll_up() == 2
    assert stored(runs) == [0, 3, 4]


def test_what_the_guard_compares_with_stays() -> None:
    runs = history(*({"total": 100} for _ in range(3)))
    assert roll_up() == 1  # the first has none before it, the last none after it
    assert stored(runs) == [0, 2]


def test_a_target_is_not_retried_alone_if_some_are_no_longer_listed() -> None:
    instance_row(1)
    _, run = history(DOWN, DOWN)
    SyncRun.objects.filter(pk=run.pk).update(state=RunState.FAILED)
    assert failed_in(run.pk) == {"1"}
    roll_up()
    run.refresh_from_db()
    with pytest.raises(UsageError, match=f"run {run.pk} ended more than 1 day ago, and 1 of"):
        failed_in(run.pk)
    options = run_report.retry_options(run)
    assert options is not None
    assert options.failed_from is None
    assert run_report.document(run)["rolled_up"] == {"failed": 1}


def test_pages_say_what_is_no_longer_listed(client: Client) -> None:
    instance_row(1)
    history({"read": 5}, target="2")
    run = history({"read": 5}, {"read": 5}, DOWN)[1]
    run_part(run, "2", read=7)
    run_part(run, "3", read=1)
    client.force_login(staff("root", is_superuser=True))
    address = "/admin/syncs/syncrun/"
    before = text_of(client.get(f"{address}?sync=instance_health"))
    assert "read 13" in before
    assert roll_up() == 2
    assert "read 13" in text_of(client.get(f"{address}?sync=instance_health"))
    page = text_of(client.get(f"{address}{run.pk}/change/"))
    assert "No longer listed, as each said what the run before had said: 2 succeeded." in page
    assert "instance 3" in page


def test_it_goes_on_by_itself_each_hour(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    turns: Callable[[], None] = hooks.run_periodic
    known = f"{pruning.__name__}.roll_up_by_itself"
    assert hooks._periodic[known][0] == timedelta(hours=1)
    monkeypatch.setattr(hooks, "_periodic", {known: hooks._periodic[known]})
    settings.RAINBO_RUN_RETENTION_DAYS = 5  # what is deleted once a day isn't, each hour
    runs = history({}, {}, {})
    turns()
    assert stored(runs) == [0]
    assert SyncRun.objects.count() == 3


def test_it_can_be_switched_off(settings: Any) -> None:
    settings.RAINBO_RUN_DETAIL_DAYS = 0
    runs = history({}, {}, {})
    pruning.roll_up_by_itself()
    assert stored(runs) == [0, 1, 2]
