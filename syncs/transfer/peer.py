"""How much a peer may send: a connection to a source, with budgets.

libpq keeps a message until it is complete, whatever length the peer declares, and all messages of a
result until the last. So what arrives is counted at the socket, by the kernel, whenever libpq waits
for more: what was received and is no row that was passed on is in memory. Rows are passed on, to
a spool or a stage, and are counted one by one.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import psycopg
from django.conf import settings
from psycopg import pq, waiting

from syncs.errors import SourceError

HEADER = 5  # bytes before the content of each message
# Of the bytes of rows, what encryption adds at most; and never more than this many bytes.
OVERHEAD, MOST_OVERHEAD = 1 / 64, 64 * 1024 * 1024
_BYTES_RECEIVED = 128  # where Linux's struct tcp_info has tcpi_bytes_received, a u64
FLOOR = 100_000  # rows that a source may grow to, however few it had
ROW = 4096  # bytes of an average row, at most
_KB, _MB = 1024, 1024 * 1024

RV = TypeVar("RV")


class TooMuchSent(SourceError):
    """A source sent more than its budget; nothing of it was used, and its space is free again."""

    kind = "budget"


@dataclass(frozen=True)
class ReadLimit:
    """The most that one read may send; why: where a limit comes from, and how to raise it."""

    rows: int
    size: int
    why_rows: str = "if the source really has so many, raise RAINBO_READ_MAX_ROWS"
    why_size: str = "if the source really has so much, raise RAINBO_READ_MAX_MB"

    @classmethod
    def of_settings(cls, readers: int = 1) -> Self:
        """The limit of the settings. readers: how many read at once and share the space."""
        return cls(settings.RAINBO_READ_MAX_ROWS, settings.RAINBO_READ_MAX_MB * _MB // readers)

    def after(self, rows: int | None) -> ReadLimit:
        """The limit, given how many rows were last confirmed; None if none ever were."""
        if rows is None:
            return self
        why = (
            f"it had {rows:,} when it was last confirmed: if it has really grown so much, raise "
            "RAINBO_READ_GROWTH"
        )
        expected = max(FLOOR, rows * settings.RAINBO_READ_GROWTH)
        limit = self
        if expected < self.rows:
            limit = replace(limit, rows=expected, why_rows=why)
        if expected * ROW < self.size:
            limit = replace(limit, size=expected * ROW, why_size=why.replace(" when", " rows when"))
        return limit


@dataclass
class Budget:
    """What a connection received in answer to one statement, and what of that was passed on.

    limit: of its reads. received: bytes before the statement. passed: bytes of rows, with their
    headers. rows, size: their number and their content's bytes. statements: how many there were.
    checked: after how many nothing is left to check, for `snapshot_check`.
    """

    limit: ReadLimit | None = None
    received: int = 0
    passed: int = 0
    rows: int = 0
    size: int = 0
    statements: int = 0
    checked: int | None = None

    def start(self, descriptor: int) -> None:
        """Begin to count the answer to a statement."""
        self.received = received_bytes(descriptor) or 0
        self.passed = self.rows = self.size = 0
        self.statements += 1

    def pass_on(self, length: int) -> None:
        """Count a row. Raises TooMuchSent beyond the read's limit."""
        self.passed += length + HEADER
        self.rows += 1
        self.size += length
        if (limit := self.limit) is None:
            return
        if self.rows > limit.rows:
            raise TooMuchSent(f"sent more than {limit.rows:,} rows; {limit.why_rows}")
        if self.size > limit.size:
            raise TooMuchSent(f"sent more than {_amount(limit.size)} of rows; {limit.why_size}")

    def check(self, descriptor: int) -> None:
        """Raise TooMuchSent if libpq holds more than an answer may have."""
        arrived = _arrived_bytes(descriptor)  # which costs half of what the other count does
        allowed = settings.RAINBO_ANSWER_MAX_KB * _KB
        overhead = min(self.passed * OVERHEAD, MOST_OVERHEAD)
        most = self.received + self.passed + allowed + overhead
        if arrived is None or arrived <= most:
            return
        if (received_bytes(descriptor) or 0) > most:
            raise TooMuchSent(
                f"sent more than {_amount(allowed)} in one message, or in messages that are no "
                "rows: look at its notices, notifications and the longest values of its tables, "
                "or raise RAINBO_ANSWER_MAX_KB"
            )


def received_bytes(descriptor: int) -> int | None:
    """Return what was read from a TCP connection so far; None if it is another or is closed."""
    try:
        unread = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0")
    except OSError:
        return None
    arrived = _arrived_bytes(descriptor)
    return None if arrived is None else arrived - int(struct.unpack("=i", unread)[0])


def _arrived_bytes(descriptor: int) -> int | None:
    """Like `received_bytes`, with what arrived and was not read."""
    try:
        line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    except OSError:
        return None
    try:
        info = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED + 8)
    except OSError:
        return None
    finally:
        line.detach()
    if len(info) < _BYTES_RECEIVED + 8:
        return None
    (received,) = struct.unpack_from("=Q", info, _BYTES_RECEIVED)
    return int(received)


class PeerConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection to a server that is not trusted to be brief, from the first byte on."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        super().__init__(pgconn)
        self.budget = Budget()
        self.add_notify_handler(lambda _: None)  # else psycopg keeps them

    @classmethod
    def _get_connection_params(cls, conninfo: str, **keywords: Any) -> dict[str, Any]:
        """psycopg's own would parse an empty `conninfo` for libpq's defaults, of no use here."""
        if conninfo:
            return super()._get_connection_params(conninfo, **keywords)
        return {name: value for name, value in keywords.items() if value is not None}

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Generator[Any, Any, Self]:
        """`_login`, within a budget; it yields the socket each time it waits."""
        steps, budget = cls._login(conninfo), Budget()
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                budget.check(wanted[0])
                wanted = steps.send(ready)
        except StopIteration as ended:
            connection: Self = ended.value
            return connection

    @classmethod
    def _login(cls, conninfo: str) -> Generator[Any, Any, Self]:
        """psycopg's own."""
        connection: Self = yield from super()._connect_gen(conninfo)
        return connection

    def wait(
        self,
        gen: Generator[waiting.Wait, waiting.Ready | int, RV],
        interval: float = 0.1,
        timeout: float | None = None,
    ) -> RV:
        return super().wait(self._watched(gen), interval, timeout)

    def check_budget(self) -> None:
        """Drop notifications; raise TooMuchSent beyond the budget."""
        while self.pgconn.notifies() is not None:
            pass
        self.budget.check(self.pgconn.socket)

    def _watched(
        self, steps: Generator[waiting.Wait, waiting.Ready | int, RV]
    ) -> Generator[waiting.Wait, waiting.Ready | int, RV]:
        self.budget.start(self.pgconn.socket)
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                wanted = steps.send(ready)
                self.budget.check(self.pgconn.socket)
        except StopIteration as ended:
            value: RV = ended.value
            return value


def _amount(size: int) -> str:
    return f"{size // _MB:,} MB" if size >= _MB and not size % _MB else f"{size // _KB:,} KB"
