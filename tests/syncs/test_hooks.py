"""What other apps attach to the engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest.mock import Mock

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.models import F
from django.db.models.functions import Now

from syncs import hooks
from syncs.engine import closing, lost_runs
from syncs.engine.closing import Ending
from syncs.models import Lease, Periodic, RunState, SyncRun, Trigger, WorkerEvent
from syncs.workers import heartbeat

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "app.evaluate"


@pytest.fixture
def receivers(monkeypatch: pytest.MonkeyPatch) -> hooks.RunHook:
    fresh = hooks.RunHook()
    monkeypatch.setattr(hooks, "run_closed", fresh)
    return fresh


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Mock:
    monkeypatch.setattr(hooks, "_periodic", {})
    made = Mock(__module__="app", __qualname__="evaluate")
    hooks.periodic(60, made)
    return made


def running() -> SyncRun:
    return SyncRun.objects.create(sync="probe", state=RunState.RUNNING, trigger=Trigger.COMMAND)


def note(record: SyncRun) -> None:
    WorkerEvent.objects.create(host="note", message=f"{record.pk} {record.state}")


def break_database(record: SyncRun) -> None:
    note(record)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def break_program(record: SyncRun) -> None:
    note(record)
    raise ValueError("it broke")


def test_a_receiver_writes_in_the_transaction_that_closes_the_run(
    receivers: hooks.RunHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    receivers.connect(lambda record: seen.append(connection.in_atomic_block))
    receivers.connect(note)
    seen: list[bool] = []
    record = running()
    assert closing.close(record, Ending(RunState.SUCCEEDED), 1.0)
    assert seen == [True]
    assert WorkerEvent.objects.get().message == f"{record.pk} succeeded"


@pytest.mark.parametrize("broken", [break_database, break_program])
def test_a_receiver_that_fails_neither_blocks_the_closing_nor_the_others(
    receivers: hooks.RunHook, broken: object, caplog: pytest.LogCaptureFixture
) -> None:
    receivers.connect(broken)  # type: ignore[arg-type]
    receivers.connect(note)
    record = running()
    assert closing.close(record, Ending(RunState.SUCCEEDED), 1.0)
    record.refresh_from_db()
    assert record.state == RunState.SUCCEEDED
    assert WorkerEvent.objects.count() == 1  # what the broken one wrote is undone
    assert "what should follow the end of run" in caplog.text


def test_a_run_that_others_closed_is_not_told_again(receivers: hooks.RunHook) -> None:
    receivers.connect(note)
    record = running()
    SyncRun.objects.update(state=RunState.LOST)
    assert not closing.close(record, Ending(RunState.SUCCEEDED), 1.0)
    assert not WorkerEvent.objects.exists()


def test_a_lost_run_is_closed_too(receivers: hooks.RunHook) -> None:
    receivers.connect(note)
    record = running()
    Lease.objects.create(sync="probe", token=1, run=record, expires_at=Now() - timedelta(minutes=1))
    assert lost_runs.close_lost_runs() == [record]
    assert WorkerEvent.objects.get().message == f"{record.pk} lost"


def test_a_periodic_function_runs_once_in_its_interval(function: Mock) -> None:
    hooks.run_periodic()
    hooks.run_periodic()
    assert function.call_count == 1
    Periodic.objects.update(claimed_at=F("claimed_at") - timedelta(seconds=55))
    hooks.run_periodic()
    assert function.call_count == 2


def test_of_several_processes_one_runs_it(function: Mock) -> None:
    def process(_: int) -> None:
        hooks.run_periodic()
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(process, range(8)))
    assert function.call_count == 1


def test_a_clock_that_was_set_back_stops_nothing(function: Mock) -> None:
    Periodic.objects.create(name=NAME, claimed_at=Now() + timedelta(days=1))
    hooks.run_periodic()
    assert function.call_count == 1


def test_a_periodic_function_that_fails_is_logged_and_tried_next_time(
    function: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    function.side_effect = ValueError("it broke")
    hooks.run_periodic()
    hooks.run_periodic()
    assert function.call_count == 1
    assert f"{NAME} failed" in caplog.text


def test_schedule_run_calls_what_is_due(function: Mock) -> None:
    call_command("schedule_run", "--quiet")
    assert function.call_count == 1


@pytest.mark.parametrize("away", [False, True])
def test_the_main_process_of_the_workers_calls_what_is_due(
    function: Mock, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """Also when the queue could not be asked for maintenance."""
    cluster = Mock()
    cluster.is_alive.side_effect = [True, False]
    monkeypatch.setattr("multiprocessing.active_children", lambda: [cluster])
    if away:
        monkeypatch.setattr(heartbeat, "async_task", Mock(side_effect=OperationalError("away")))
    heartbeat.request_maintenance_each_interval()
    assert function.call_count == 1


def test_the_shortest_interval_says_how_long_the_caller_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hooks, "_periodic", {})
    assert hooks.shortest_interval() == float("inf")
    hooks.periodic(60, lambda: None)
    hooks.periodic(30, int)
    assert hooks.shortest_interval() == 30
