from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from psycopg import sql
from pytest_django import Settings

from syncs.errors import (
    ConnectionFailed,
    SourceTimeout,
)
from syncs.transfer import copy_stream
from syncs.transfer.digest import Hashing
from tenants.fleet import connections, contract
from tenants.models import RdsInstance
from tests.instances import InstanceFleet


def known(number: int = 1) -> RdsInstance:
    return RdsInstance.objects.get(pk=number)


def fill(registered: InstanceFleet) -> None:
    """More routes than fit into any buffer on the way."""
    registered.master.execute(
        "INSERT INTO user_email_routing (id, email) "
        "SELECT n, repeat('x', 300) FROM generate_series(1, 50000) AS n"
    )


def test_a_session_that_is_ended_in_the_middle_of_a_copy(registered: InstanceFleet) -> None:
    fill(registered)
    ended = threading.Event()

    def act(instance: RdsInstance, source: connections.Connection) -> int:
        def write(block: bytes) -> None:
            if not ended.is_set():
                pid = source.info.backend_pid
                registered.master.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
                ended.set()

        return copy_stream.copy_out(source, everything(), write)

    (outcome,) = connections.each_instance([known()], act, "test")
    assert isinstance(outcome.error, ConnectionFailed)
    assert outcome.error.transient


def stop_own_backend(instance: RdsInstance, source: connections.Connection) -> None:
    """Asks a server that stands still in the middle of its answer."""
    STOPPED.append(source.info.backend_pid)
    os.kill(source.info.backend_pid, signal.SIGSTOP)
    source.execute("SELECT 1")


STOPPED: list[int] = []


def everything() -> sql.Composed:
    return copy_stream.rows(contract.query("sync_user_routing"), Hashing.NATIVE)


@pytest.fixture
def resume() -> Iterator[None]:
    STOPPED.clear()
    yield
    for pid in STOPPED:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_stops_in_the_middle_of_a_query(
    registered: InstanceFleet, resume: None
) -> None:
    def act(instance: RdsInstance, source: connections.Connection) -> str:
        if instance.pk == 1:
            stop_own_backend(instance, source)
        return "done"

    started = time.monotonic()
    outcomes = connections.each_instance([known(1), known(2)], act, "test", limit=1)
    assert time.monotonic() - started < 2
    assert isinstance(outcomes[0].error, SourceTimeout)
    assert "instance 1 (rds1) did not finish within 1 s" in str(outcomes[0].error)
    assert outcomes[1].value == "done"


def test_a_server_that_stops_in_the_middle_of_a_copy(
    registered: InstanceFleet, resume: None
) -> None:
    fill(registered)

    def act(instance: RdsInstance, source: connections.Connection) -> int:
        def write(block: bytes) -> None:
            if not STOPPED:
                STOPPED.append(source.info.backend_pid)
                os.kill(source.info.backend_pid, signal.SIGSTOP)

        return copy_stream.copy_out(source, everything(), write)

    (outcome,) = connections.each_instance([known()], act, "test", limit=1)
    assert isinstance(outcome.error, SourceTimeout)
    assert outcome.seconds < 2


def test_work_that_does_not_end_is_left_behind(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.fleet.parallel.GRACE", 0.2)
    end = threading.Event()
    (outcome,) = connections.each_instance([known()], lambda *_: end.wait(20), "test", limit=0.5)
    end.set()
    assert isinstance(outcome.error, SourceTimeout)
    assert outcome.seconds < 2


def test_instances_are_visited_at_once(registered: InstanceFleet) -> None:
    together = threading.Barrier(3)
    outcomes = connections.each_instance(
        list(RdsInstance.objects.all()), lambda *_: together.wait(20), "test"
    )
    assert sorted(outcome.value or 0 for outcome in outcomes) == [0, 1, 2]


def test_no_more_at_once_than_the_setting_says(
    registered: InstanceFleet, settings: Settings
) -> None:
    settings.RAINBO_FLEET_THREADS = 1
    inside, most = [0], [0]

    def act(instance: RdsInstance, source: connections.Connection) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        source.execute("SELECT pg_sleep(0.05)")
        inside[0] -= 1

    connections.each_instance(list(RdsInstance.objects.all()), act, "test")
    assert most == [1]


def test_each_end_is_told_in_the_callers_thread(registered: InstanceFleet) -> None:
    told: list[tuple[int, threading.Thread]] = []
    connections.each_instance(
        list(RdsInstance.objects.all()),
        lambda *_: threading.current_thread(),
        "test",
        on_done=lambda outcome: told.append((outcome.instance.pk, threading.current_thread())),
    )
    assert sorted(pk for pk, _ in told) == [1, 2, 3]
    assert {thread for _, thread in told} == {threading.current_thread()}


def test_an_unexpected_error_stays_with_its_instance(
    registered: InstanceFleet, caplog: pytest.LogCaptureFixture
) -> None:
    def act(instance: RdsInstance, source: connections.Connection) -> int:
        return 1 // (instance.pk - 2)

    outcomes = connections.each_instance(list(RdsInstance.objects.all()), act, "test")
    assert [outcome.value for outcome in outcomes] == [-1, None, 1]
    assert "unexpected ZeroDivisionError with instance 2 (rds2)" in str(outcomes[1].error)
    assert "division" in caplog.text


def test_leaving_by_an_exception_cuts_what_is_under_way(registered: InstanceFleet) -> None:
    def stop(outcome: connections.Outcome[None]) -> None:
        raise SystemExit

    def act(instance: RdsInstance, source: connections.Connection) -> None:
        source.execute(f"SELECT pg_sleep({0 if instance.pk == 2 else 60})".encode())

    with pytest.raises(SystemExit):
        connections.each_instance(list(RdsInstance.objects.all()), act, "test", on_done=stop)
    assert not [t for t in threading.enumerate() if t.name.startswith("instance ")]
