"""Waits for a server's socket without blocking other threads.

libpq's own waiting (in PQgetCopyData, PQputCopyData and PQgetResult) holds Python's lock: one
unresponsive server would block every thread of the process, including the lease's renewal.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import pq

from syncs.transfer.peer import PeerConnection

POLL_TIMEOUT_MS = 1000  # then ask libpq again: TLS may hold bytes that the socket doesn't show


def get_data(connection: psycopg.Connection[Any]) -> memoryview | None:
    """Return the next bytes of a COPY; None at its end."""
    while True:
        length, data = connection.pgconn.get_copy_data(1)
        if length:
            if length > 0 and isinstance(connection, PeerConnection):
                connection.budget.pass_on(length)
            return data if length > 0 else None
        if connection.pgconn.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError("the connection was lost")
        _await_input(connection)


def get_result(connection: psycopg.Connection[Any]) -> pq.abc.PGresult | None:
    while connection.pgconn.is_busy() and connection.pgconn.status != pq.ConnStatus.BAD:
        _await_input(connection)
    return connection.pgconn.get_result()


def put_data(connection: psycopg.Connection[Any], block: bytes) -> None:
    """Send a block of a COPY; the connection must be non-blocking."""
    while not connection.pgconn.put_copy_data(block):
        _await_output(connection)
    _flush(connection)


def end_data(connection: psycopg.Connection[Any], error: bytes | None = None) -> None:
    """End a COPY that sends, or abort it with an error; the connection must be non-blocking."""
    while not connection.pgconn.put_copy_end(error):
        _await_output(connection)
    _flush(connection)


def _flush(connection: psycopg.Connection[Any]) -> None:
    while connection.pgconn.flush():
        _await_output(connection)


def _await_input(connection: psycopg.Connection[Any]) -> None:
    """Wait for input; a lost connection may still have a last message to read."""
    if isinstance(connection, PeerConnection):
        connection.check_budget()
    _poll(connection, select.POLLIN)
    with suppress(psycopg.OperationalError):
        connection.pgconn.consume_input()


def _await_output(connection: psycopg.Connection[Any]) -> None:
    """Wait until the socket takes more, reading input meanwhile, or both sides would wait."""
    if _poll(connection, select.POLLIN | select.POLLOUT) & select.POLLIN:
        connection.pgconn.consume_input()


def _poll(connection: psycopg.Connection[Any], events: int) -> int:
    poller = select.poll()
    poller.register(connection.pgconn.socket, events)
    return sum(found for _, found in poller.poll(POLL_TIMEOUT_MS))
