from __future__ import annotations

import itertools
import os
import signal
import threading
import time

import psycopg
import pytest

from syncs import wire
from tests.instances import InstanceFleet


@pytest.fixture
def ticks() -> list[float]:
    """Moments that another thread noted while the test waited."""
    return []


def longest_silence(ticks: list[float]) -> float:
    return max(later - earlier for earlier, later in itertools.pairwise(ticks))


def test_waiting_for_a_stopped_server_lets_other_threads_run(
    fleet: InstanceFleet, ticks: list[float]
) -> None:
    with fleet.master.connect() as source:
        pid = source.info.backend_pid
        source.pgconn.exec_(
            b"COPY (SELECT repeat('x', 9999) FROM generate_series(1, 9999)) TO STDOUT"
        )
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.5, os.kill, [pid, signal.SIGCONT]).start()

        def note() -> None:
            while len(ticks) < 40:
                ticks.append(time.monotonic())
                time.sleep(0.01)

        noting = threading.Thread(target=note)
        noting.start()
        rows = 0
        while wire.get_data(source) is not None:
            rows += 1
        noting.join()
        result = wire.get_result(source)
    assert rows == 9999
    assert result is not None
    assert result.command_tuples == 9999
    assert longest_silence(ticks) < 0.3


def test_a_lost_connection_ends_the_waiting(fleet: InstanceFleet) -> None:
    with fleet.master.connect() as source:
        source.pgconn.exec_(
            b"COPY (SELECT pg_sleep(n / 2) FROM generate_series(0, 99) n) TO STDOUT"
        )
        fleet.master.execute("SELECT pg_terminate_backend(%s)", [source.info.backend_pid])
        while wire.get_data(source) is not None:
            pass
        result = wire.get_result(source)
    assert result is not None
    assert result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"57P01"
