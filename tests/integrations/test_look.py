"""The look that finds what is due: marked and requested together, and never twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone
from django_q.models import OrmQ

from integrations import look, states
from integrations.due import State
from integrations.models import Connection
from localfleet.services.github import GitHub
from localfleet.services.server import Asked, Reply
from syncs import hooks
from syncs.engine import lease, runs
from syncs.models import Lease, RunState, SyncRun, TargetState, Trigger
from tests.caches import query
from tests.integrations.rows import connection, fetch, part

pytestmark = pytest.mark.django_db(transaction=True)


def state_of(row: Connection) -> State:
    row.refresh_from_db()
    return states.judge([row], timezone.now())[row.pk].state


def test_due_connections_are_marked_and_requested_together() -> None:
    first, second = connection(), connection(name="other")
    connection(name="fresh", last_successful_update_at=timezone.now())
    (run,) = look.look()
    run.refresh_from_db()
    assert (run.sync, run.trigger, run.state) == ("github", Trigger.SCHEDULE, RunState.QUEUED)
    assert run.options == {"targets": [first.key, second.key]}
    assert (state_of(first), state_of(second)) == (State.PROCESSING, State.PROCESSING)
    assert OrmQ.objects.count() == 1


def test_nothing_due_makes_no_run() -> None:
    connection(last_successful_update_at=timezone.now())
    connection(name="off", enabled=False)
    assert not look.look()
    assert not SyncRun.objects.exists()


def test_what_is_not_due_is_not_even_locked() -> None:
    """A lock writes the row: a look each half minute would write thousands for nothing."""
    connection(name="fresh", last_successful_update_at=timezone.now())
    connection(name="paused", paused_until=timezone.now() + timedelta(hours=1))
    connection(name="waits", not_before=timezone.now() + timedelta(minutes=1))
    due = connection(name="due", last_successful_update_at=timezone.now() - timedelta(minutes=16))
    before = query("SELECT name, xmin::text, xmax::text FROM integrations_connection ORDER BY id")
    look.look()
    after = query("SELECT name, xmin::text, xmax::text FROM integrations_connection ORDER BY id")
    assert {row[0] for row in after if row not in before} == {due.name}


def test_a_failure_is_retried_though_its_period_is_not_over() -> None:
    row = connection(attempt=1, last_successful_update_at=timezone.now(), last_error="broken")
    assert [run.options["targets"] for run in look.look()] == [(row.key,)]


def test_a_wait_that_a_service_asks_for_after_a_failure_is_kept(hub: GitHub) -> None:
    row = connection(hub.url)
    for reply in (Reply(500), Reply(429, {}, {"Retry-After": "300"})):
        Connection.objects.update(not_before=None)
        hub.faults = [reply]
        fetch(row)
    assert state_of(row) is State.WAITING
    assert row.attempt == 1, "it neither failed nor succeeded"
    assert part(fetch(row), row).state == TargetState.SKIPPED, "by its name, too"
    call_command("queue_retry", "all")
    assert state_of(row) is State.WAITING
    call_command("queue_flush")
    assert (state_of(row), row.attempt) == (State.WAITING, 0)


def test_what_is_held_after_a_failure_is_shown_as_held(hub: GitHub) -> None:
    hub.add_repository("home")
    row = connection(hub.url)
    fetch(row)
    hub.faults = [Reply(500)]
    fetch(row)
    Connection.objects.update(not_before=None)
    hub.repositories.clear()
    fetch(row)
    Connection.objects.update(last_successful_update_at=timezone.now() - timedelta(hours=1))
    assert (state_of(row), row.attempt) == (State.HELD, 0)


def test_a_service_that_has_an_open_run_is_left_alone() -> None:
    connection()
    look.look()
    late = connection(name="made meanwhile")
    assert not look.look()
    assert state_of(late) is State.DUE


def test_over_many_looks_nothing_is_taken_twice(hub: GitHub) -> None:
    rows = [connection(hub.url, name=str(n), update_frequency_minutes=n + 1) for n in range(3)]
    begin = timezone.now()
    for number in range(20):
        with time_machine.travel(begin + timedelta(seconds=30 * number), tick=False):
            look.look()
            look.look()
    targets = [run.options["targets"] for run in SyncRun.objects.order_by("pk")]
    assert targets == [[row.key for row in rows]]


def test_a_mark_is_undone_with_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    row = connection()

    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("syncs.tasks.enqueue", fail)
    with pytest.raises(RuntimeError):
        look.look()
    row.refresh_from_db()
    assert (row.last_triggered_at, SyncRun.objects.count()) == (None, 0)


def test_two_services_at_once_are_enough(settings: Any) -> None:
    settings.RAINBO_INTEGRATION_SERVICES = 0
    connection()
    assert not look.look()
    settings.RAINBO_INTEGRATION_SERVICES = 1
    assert look.look()


def test_a_row_that_another_transaction_edits_is_left_for_the_next_look(
    run_elsewhere: Callable[[Callable[[], Any]], Any],
) -> None:
    edited, other = connection(), connection(name="other")
    with transaction.atomic():
        Connection.objects.select_for_update().get(pk=edited.pk)
        run_elsewhere(look.look)
    assert SyncRun.objects.get().options == {"targets": [other.key]}


@pytest.fixture
def run_elsewhere() -> Callable[[Callable[[], Any]], Any]:
    """Runs a function in a thread, with a database connection of its own."""
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection as database

    def act(function: Callable[[], Any]) -> Any:
        try:
            return function()
        finally:
            database.close()

    def run(function: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(act, function).result()

    return run


def test_the_mark_of_a_run_that_died_counts_no_longer() -> None:
    row = connection()
    (run,) = look.look()
    token = lease.claim(run)
    run.move(RunState.RUNNING, expect=(RunState.QUEUED,), token=token, started_at=timezone.now())
    assert state_of(row) is State.PROCESSING
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert state_of(row) is State.DUE
    (again,) = look.look()
    assert again.pk != run.pk


def test_a_run_that_was_looked_for_fetches_what_it_names(hub: GitHub) -> None:
    hub.add_repository("home")
    row = connection(hub.url)
    (run,) = look.look()
    runs.execute(run)
    assert part(run, row).added == 1
    assert state_of(row) is State.CONNECTED
    assert not look.look()


def test_failures_are_retried_after_a_minute_five_and_ten_and_then_in_the_next_period(
    hub: GitHub,
) -> None:
    row = connection(hub.url)
    waits = []
    for _ in range(5):
        hub.faults = [Reply(500)]
        Connection.objects.update(not_before=None)
        (run,) = look.look()
        runs.execute(run)
        row.refresh_from_db()
        assert row.last_triggered_at is None
        assert row.not_before is not None
        waits.append(round((row.not_before - timezone.now()) / timedelta(seconds=60)))
        assert not look.look(), "not before its time"
    assert waits == [1, 5, 10, 15, 1]


def test_a_run_takes_what_falls_due_while_it_waits_for_a_slow_one(
    hub: GitHub, monkeypatch: pytest.MonkeyPatch, run_elsewhere: Callable[[Callable[[], Any]], Any]
) -> None:
    monkeypatch.setattr(look, "INTERVAL", 0)
    slow = connection(hub.url)
    usual, made = hub.answer, list[Connection]()

    def answer(asked: Asked) -> Reply:
        if not made:
            made.append(run_elsewhere(lambda: connection(hub.url, name="made meanwhile")))
            hub.latency = 0.3
        return usual(asked)

    hub.answer = answer  # type: ignore[method-assign]
    (run,) = look.look()
    runs.execute(run)
    assert {p.target: p.state for p in run.targets.all()} == {
        slow.key: "succeeded",
        made[0].key: "succeeded",
    }
    assert SyncRun.objects.count() == 1


def test_schedule_run_looks_and_fetches_without_a_worker(hub: GitHub) -> None:
    hub.add_repository("home")
    row = connection(hub.url)
    call_command("schedule_run", quiet=True)
    row.refresh_from_db()
    assert row.last_successful_update_at is not None
    assert row.record_count == 1


def test_the_main_process_looks_each_30_seconds() -> None:
    assert "integrations.look.look" in hooks._periodic
    assert hooks.shortest_interval() <= look.INTERVAL == 30
