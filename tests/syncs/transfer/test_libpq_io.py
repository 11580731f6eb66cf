from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time

import psycopg
import pytest
from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

from syncs.transfer import libpq_io
from tests.instances import InstanceFleet

ROWS = b"COPY (SELECT repeat('x', 9999) FROM generate_series(1, 9999)) TO STDOUT"


def drain(source: psycopg.Connection) -> list[PGresult]:
    """Read a COPY to its end and return its closing results."""
    while libpq_io.get_data(source) is not None:
        pass
    results = []
    while result := libpq_io.get_result(source):
        results.append(result)
    return results


def test_waiting_for_a_stopped_server_lets_other_threads_run(fleet: InstanceFleet) -> None:
    ticks: list[float] = []

    def note() -> None:
        while len(ticks) < 60:
            ticks.append(time.monotonic())
            time.sleep(0.01)

    with fleet.master.connect() as source:
        pid = source.info.backend_pid
        source.pgconn.exec_(ROWS)
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.5, os.kill, [pid, signal.SIGCONT]).start()
        noting = threading.Thread(target=note)
        noting.start()
        (result,) = drain(source)
        noting.join()
    assert result.command_tuples == 9999
    assert max(later - earlier for earlier, later in itertools.pairwise(ticks)) < 0.3


def test_the_last_words_of_an_ended_session_are_heard(fleet: InstanceFleet) -> None:
    with fleet.master.connect() as source:
        source.pgconn.exec_(
            b"COPY (SELECT repeat('x', 9999), pg_sleep(60 * (n / 5)) "
            b"FROM generate_series(1, 9) AS n) TO STDOUT"
        )
        fleet.master.execute("SELECT pg_terminate_backend(%s, 5000)", [source.info.backend_pid])
        result = drain(source)[0]
    assert result.error_field(DiagnosticField.SQLSTATE) == b"57P01"


def test_a_line_that_is_cut_is_an_error(fleet: InstanceFleet) -> None:
    with fleet.master.connect() as source:
        source.pgconn.exec_(ROWS)
        with socket.socket(fileno=os.dup(source.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
        with pytest.raises(psycopg.OperationalError, match="lost"):
            drain(source)
