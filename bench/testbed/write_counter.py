"""What a database's server logged and a table took in while something ran."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from localfleet.servers.server import Server

WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
WRITTEN = """
    SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint
      FROM pg_stat_user_tables WHERE relname = ANY(%s)"""
OTHERS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend'
       AND pid <> pg_backend_pid()"""
TIMEOUT = 10.0


@dataclass
class Written:
    wal: int = 0
    rows: int = 0


@contextmanager
def watched(server: Server, database: str, *tables: str) -> Iterator[Written]:
    """Filled in at the end: bytes of WAL of the whole server, and rows written to the tables."""
    found = Written()
    with server.connect(database) as session:
        before = _read(session, tables)
    yield found
    with server.connect(database) as session:
        _wait_for_others(session)
        after = _read(session, tables)
    found.wal, found.rows = after.wal - before.wal, after.rows - before.rows


def _read(session: psycopg.Connection, tables: tuple[str, ...]) -> Written:
    (wal,) = session.execute(WAL).fetchone() or (0,)
    (rows,) = session.execute(WRITTEN, [[*tables]]).fetchone() or (0,)
    return Written(wal, rows)


def _wait_for_others(session: psycopg.Connection) -> None:
    """Sessions report what they wrote when they end; readers that stay are waited for in vain."""
    deadline = time.monotonic() + TIMEOUT
    while (session.execute(OTHERS).fetchone() or (0,))[0] and time.monotonic() < deadline:
        time.sleep(0.05)
