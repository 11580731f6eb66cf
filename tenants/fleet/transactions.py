"""The one transaction in which RAINBO reads or writes an instance.

A pooler in transaction mode may give each transaction another session of the server, with whatever
settings its last user left there. So all that a read or write relies on is inside one transaction:
its settings (by SET LOCAL), the identity of the server, the snapshot and the queries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from psycopg import pq, sql
from psycopg.abc import Buffer
from psycopg.types.string import TextLoader

from common import libpq
from syncs.transfer import snapshot_check
from syncs.transfer.peer import PeerConnection
from syncs.transfer.session import HAS_TRANSACTION_TIMEOUT
from syncs.transfer.snapshot_check import TablesReplaced
from tenants.fleet import identity
from tenants.fleet.identity import Identity, Replica

if TYPE_CHECKING:
    from tenants.fleet.scram import Challenge

LOCK_TIMEOUT = 30  # seconds that a query waits for a locked table
TRIES = 5  # snapshots that are taken of tables that are being replaced
POOLED = "through a connection pooler"
SQL_ASCII = "SQL_ASCII"
HAS_PARAMETER_PRIVILEGES = 150_000  # servers of this version and later

T = TypeVar("T")

_BEGIN = {
    False: sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
    True: sql.SQL("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
}
# Only a superuser may change it, or a role that was granted to.
_LIFT = {
    False: sql.SQL("""
        (SELECT pg_catalog.set_config('temp_file_limit', '-1', true) FROM pg_catalog.pg_roles
          WHERE rolname = current_user AND rolsuper)"""),
    True: sql.SQL("""
        CASE WHEN pg_catalog.has_parameter_privilege('temp_file_limit', 'SET')
             THEN pg_catalog.set_config('temp_file_limit', '-1', true) END"""),
}
_OPEN = (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)


class Connection(PeerConnection):
    """A connection to an instance, which is used inside `transaction` only.

    as_of: the moment of what that transaction sees, by the monotonic clock: just before its
    snapshot was taken; on a replica, the age of what it has replayed before that. as_of_latest:
    the same if all that was waited for went before. replica: what is known of it; None on a
    primary. why_password: why it signed in by the password; empty if by SCRAM keys.
    challenge: the server's, if it was looked at.
    """

    why_password: str = ""
    challenge: Challenge | None = None
    as_of: float = 0.0
    as_of_latest: float = 0.0
    replica: Replica | None = None

    @property
    def is_ascii(self) -> bool:
        return self.info.parameter_status("server_encoding") == SQL_ASCII

    @property
    def is_standby(self) -> bool:
        """Whether the server reported at the login that it is in recovery; a pooler may not."""
        return self.info.parameter_status("in_hot_standby") == "on"

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler is in between: another process than that of the login does the work."""
        row = self.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
        return row is None or row[0] != self.pgconn.backend_pid


@contextmanager
def transaction(
    source: Connection,
    *,
    writes: bool = False,
    limit: float | None = None,
    lock: Sequence[str] = (),
) -> Iterator[Identity]:
    """Open a transaction with all its settings; yields the identity of the server that it is on.

    Reading, all queries see one snapshot. limit: seconds that a statement may take, if less than
    RAINBO_STATEMENT_TIMEOUT. lock: tables, as SQL writes them, that are locked before the snapshot
    is taken. Raises psycopg errors as they are.
    """
    if source.is_ascii:
        _read_texts_as_bytes(source)
    began = time.monotonic()
    lift = _LIFT[source.info.server_version >= HAS_PARAMETER_PRIVILEGES]
    first = [_BEGIN[writes], _settings(source, writes, limit), *_locks(lock)]
    try:
        found, source.replica = identity.read(source, sql.SQL("; ").join(first), lift)
        lag = (source.replica and source.replica.lag) or 0.0
        source.as_of, source.as_of_latest = began - lag, time.monotonic() - lag
        yield found
        if writes:
            source.execute("COMMIT")
    finally:
        if source.info.transaction_status in _OPEN:
            source.execute("ROLLBACK")


def read_settled(
    source: Connection, act: Callable[[Identity], T], *, limit: float | None = None
) -> T:
    """Call `act` in a transaction whose snapshot shows every table that it reads as it is.

    `act` probes each query before it reads by it; if a table was replaced just then, it is called
    again in another transaction, whose tables are locked before its snapshot is taken as far as
    the role may do so. Raises TablesReplaced if that does not help, or if a function of the source
    reads a table that was replaced.
    """
    lock: Sequence[str] = ()
    for left in reversed(range(TRIES)):
        with transaction(source, limit=limit, lock=lock) as found:
            try:
                value = act(found)
            except TablesReplaced as error:
                if not left:
                    raise
                lock = error.lockable
                continue
            snapshot_check.check_and_end(source)
            return value
    raise AssertionError("not reached")


def _settings(source: Connection, writes: bool, limit: float | None) -> sql.SQL:
    statement = min(settings.RAINBO_STATEMENT_TIMEOUT, limit or settings.RAINBO_STATEMENT_TIMEOUT)
    idle = settings.RAINBO_LEASE_TTL / 2 if writes else settings.RAINBO_INSTANCE_LIMIT
    values = libpq.PINNED | {
        "statement_timeout": f"{statement:g}s",
        "lock_timeout": f"{min(LOCK_TIMEOUT, statement):g}s",
        "idle_in_transaction_session_timeout": f"{idle:g}s",
        "client_min_messages": "error",  # notices are for people at a terminal
        "row_security": "off",  # a policy that would hide rows is an error
        "client_encoding": SQL_ASCII if source.is_ascii else "UTF8",
    }
    if source.info.server_version >= HAS_TRANSACTION_TIMEOUT:
        # The visit's own limit ends it. Another value would not restart a clock that runs already.
        values = {"transaction_timeout": "0"} | values
    return _set_local(tuple(values.items()))


@lru_cache(maxsize=64)  # each visit of a run has the same
def _set_local(values: tuple[tuple[str, str], ...]) -> sql.SQL:
    statements = [
        sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in values
    ]
    return sql.SQL(sql.SQL("; ").join(statements).as_string())


def _locks(tables: Sequence[str]) -> Iterator[sql.Composed]:
    if tables:
        names = sql.SQL(", ").join(map(sql.SQL, tables))
        yield sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names)


class _LenientLoader(TextLoader):
    """Text of a SQL_ASCII server, where any byte may stand."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", errors="backslashreplace")


def _read_texts_as_bytes(source: Connection) -> None:
    """Decode texts here: asked for UTF8, such a server would fail for one bad row."""
    for name in ("text", "varchar", "bpchar", "name"):
        source.adapters.register_loader(name, _LenientLoader)
