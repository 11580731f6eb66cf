"""What statistics count, and that they read one index however many runs there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from common.errors import UsageError
from syncs.engine import registry
from syncs.models import RunState, SyncRun
from syncs.status import statistics
from syncs.status.statistics import Statistics, Window
from tests import rows, seeds
from tests.console.measure import measured

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = Window.of(24, NOW)
HOUR = timedelta(hours=1)
MANY = """
    INSERT INTO syncs_syncrun (sync, state, trigger, actor, options, attempt, created_at,
        started_at, finished_at, seconds, host, cancel_requested_by, error)
    SELECT 'user_routing', CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'succeeded' END, 'schedule', '',
        '{}', 1, %(now)s - n * %(every)s, %(now)s - n * %(every)s, %(now)s - n * %(every)s,
        n %% 60, '', '', ''
      FROM generate_series(0, %(count)s - 1) AS n"""

ended_run = partial(rows.ended_run, now=NOW)


def of(sync: str = "user_routing", window: Window = DAY) -> Statistics:
    return statistics.statistics([sync], window)[sync]


def many(count: int, within: timedelta) -> None:
    with connection.cursor() as cursor:
        given: dict[str, Any] = {"now": NOW, "every": within / count, "count": count}
        cursor.execute(MANY, given)
        cursor.execute("ANALYZE syncs_syncrun")


def test_each_state_counts_once_and_only_success_is_success() -> None:
    for state in RunState:
        ended_run(state=state)
    found = of()
    assert (found.executions, found.successes, found.partial, found.held) == (5, 1, 1, 1)
    assert found.failures == 2  # failed and lost
    assert found.success_rate == 1 / 5


def test_dry_runs_and_other_syncs_do_not_count() -> None:
    ended_run(options={"dry_run": True})
    ended_run(sync="ghost_users")
    assert of().executions == 0


def test_without_executions_nothing_is_known() -> None:
    assert of() == Statistics(
        sync="user_routing",
        executions=0,
        successes=0,
        partial=0,
        held=0,
        failures=0,
        recent_failures=0,
        timed=0,
        total_seconds=None,
        p95_seconds=None,
        last_run=None,
        last_state=None,
        last_at=None,
        failures_in_a_row=0,
    )
    assert (of().success_rate, of().average_seconds) == (None, None)


def test_a_window_has_what_ended_in_it() -> None:
    ended_run(ago=timedelta(0))
    ended_run(ago=24 * HOUR - timedelta(seconds=1))
    ended_run(ago=24 * HOUR)
    ended_run(ago=-timedelta(seconds=1))
    assert of().executions == 2


@pytest.mark.parametrize("hours", [0, -1, 169])
def test_a_window_has_bounds(hours: int) -> None:
    with pytest.raises(UsageError, match=f"1 to 168 hours, not {hours}"):
        Window.of(hours, NOW)


def test_durations_of_which_some_are_unknown() -> None:
    for seconds in range(1, 21):
        ended_run(seconds=seconds)
    SyncRun.objects.create(
        sync="user_routing", state=RunState.LOST, trigger="schedule", finished_at=NOW
    )
    found = of()
    assert (found.executions, found.timed) == (21, 20)
    assert (found.average_seconds, found.p95_seconds) == (10.5, 19.0)


def test_a_duration_of_zero_is_known() -> None:
    ended_run(seconds=0)
    assert (of().average_seconds, of().p95_seconds) == (0.0, 0.0)


def test_the_last_execution_is_known_though_it_is_older_than_the_window() -> None:
    ended_run(ago=30 * HOUR, state=RunState.FAILED)
    last = ended_run(ago=25 * HOUR, state=RunState.HELD)
    ended_run(state=RunState.SKIPPED)
    found = of()
    assert (found.last_run, found.last_state) == (last.pk, RunState.HELD)
    assert (found.last_at, found.executions) == (last.finished_at, 0)


def test_failures_in_a_row_and_of_the_last_hour() -> None:
    ended_run(ago=3 * HOUR, state=RunState.FAILED)
    ended_run(ago=2.5 * HOUR)
    for ago in (2.0, 0.5):
        ended_run(ago=ago * HOUR, state=RunState.FAILED)
    ended_run(ago=0.25 * HOUR, state=RunState.LOST)
    ended_run(ago=0.1 * HOUR, state=RunState.CANCELLED)
    found = of()
    assert (found.failures, found.failures_in_a_row, found.recent_failures) == (4, 3, 2)


def test_what_is_no_failure_ends_a_row_of_them() -> None:
    ended_run(ago=2 * HOUR, state=RunState.FAILED)
    ended_run(ago=HOUR, state=RunState.PARTIAL)
    assert of().failures_in_a_row == 0


def test_a_long_row_of_failures_is_counted_to_a_hundred() -> None:
    for n in range(103):
        ended_run(ago=n * timedelta(minutes=1), state=RunState.FAILED)
    assert of().failures_in_a_row == 100


def test_every_sync_has_statistics_in_the_given_order() -> None:
    ended_run(sync="tenant_summaries")
    found = statistics.statistics(["user_routing", "tenant_summaries"], DAY)
    assert [(name, kept.executions) for name, kept in found.items()] == [
        ("user_routing", 0),
        ("tenant_summaries", 1),
    ]


def test_recent_executions_are_the_newest_of_each_sync() -> None:
    ended_run(ago=25 * HOUR)
    runs = [ended_run(ago=n * HOUR) for n in (3, 2, 1)]
    ended_run(state=RunState.SKIPPED)
    other = ended_run(sync="ghost_users", state=RunState.FAILED, error="no instance answered")
    found = statistics.recent_executions(["user_routing", "ghost_users", "probe"], DAY, limit=2)
    assert [run.run for run in found["user_routing"]] == [runs[2].pk, runs[1].pk]
    (only,) = found["ghost_users"]
    assert (only.run, only.state, only.error) == (other.pk, RunState.FAILED, other.error)
    assert found["probe"] == []


def test_the_parts_of_a_window_add_up_to_it() -> None:
    for ago, state in [(0, "succeeded"), (7, "failed"), (12, "partial"), (23.9, "succeeded")]:
        ended_run(ago=ago * HOUR, state=RunState(state), seconds=ago)
    parts = statistics.course(["user_routing"], DAY, parts=4)["user_routing"]
    assert [part.since for part in parts] == [DAY.since + n * 6 * HOUR for n in range(4)]
    assert [(p.executions, p.successes, p.failures) for p in parts] == [
        (1, 1, 0),
        (1, 0, 0),  # noon ends the second quarter
        (1, 0, 1),
        (1, 1, 0),
    ]
    assert [p.average_seconds for p in parts] == [23.9, 12, 7, 0]
    assert sum(p.executions for p in parts) == of().executions


def test_parts_without_executions_have_no_duration() -> None:
    ended_run(seconds=4)
    ended_run(seconds=8)
    *empty, last = statistics.course(["user_routing"], DAY, parts=3)["user_routing"]
    assert [(part.executions, part.longest_seconds) for part in empty] == [(0, None)] * 2
    assert (last.shortest_seconds, last.average_seconds, last.longest_seconds) == (4, 6, 8)


def test_what_is_read_is_the_window_and_not_the_history() -> None:
    many(20_000, within=timedelta(days=365))
    with measured() as cost:
        found = of(window=Window.of(168, NOW))
    assert (cost.queries, found.executions) == (1, 384)
    # Rows that earlier tests took back are still counted as entries of the index.
    assert cost.reads["executions_of_a_sync"] < 5_000
    assert "syncs_syncrun" not in cost.scanned


@pytest.mark.soak
def test_at_a_hundred_thousand_runs_in_a_week(admin_client: Client) -> None:
    """Prints what the database takes, and what it takes for the first page; no time is judged."""
    seeds.fill(replace(seeds.LARGE, runs=1_000), NOW)
    many(100_000, within=timedelta(hours=168))
    syncs = [sync.name for sync in registry.all_syncs()]
    week = Window.of(168, NOW)
    asked: dict[str, Callable[[], object]] = {
        "Now": lambda: admin_client.get("/admin/"),
        "statistics": lambda: statistics.statistics(syncs, week),
        "course": lambda: statistics.course(syncs, week),
        "recent_executions": lambda: statistics.recent_executions(syncs, week),
    }
    for name, ask in asked.items():
        ask()  # what is read once
        with CaptureQueriesContext(connection) as queries:
            ask()
        taken = sum(float(query["time"]) for query in queries.captured_queries) * 1000
        print(f"{name:20} {taken:5.0f} ms in the database, {len(queries)} queries")
        assert name == "Now" or len(queries) == 1
