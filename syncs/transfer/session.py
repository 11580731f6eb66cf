"""The engine's own connection to RAINBO's database: for staging and publishing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.abc import Params
from psycopg.rows import tuple_row

from common import libpq
from common.read_only import OWN

HAS_TRANSACTION_TIMEOUT = 170_000  # servers of this version and later


class Session(psycopg.Connection[tuple[Any, ...]]):
    """Marks the errors of its statements: see `is_own`."""

    def execute(
        self,
        query: Any,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        with on_own_database():
            return super().execute(query, params, prepare=prepare, binary=binary)

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Whatever waits for the server: cursors, transactions, pipelines."""
        with on_own_database():
            return super().wait(gen, interval, timeout)


@contextmanager
def on_own_database() -> Iterator[None]:
    """Mark psycopg errors as raised by the engine's own session."""
    try:
        yield
    except psycopg.Error as error:
        if not is_own(error):
            error.add_note(OWN)
        raise


def is_own(error: psycopg.Error) -> bool:
    """Whether the engine's own session raised it, not one on an instance."""
    return OWN in getattr(error, "__notes__", ())


def open_session(purpose: str) -> Session:
    """Open an autocommit connection that a stopped process can't keep a lock with.

    It has temporary tables and settings of its own, so it goes to RAINBO_DB_DIRECT_HOST if a pooler
    is in front of the database. The server ends a transaction that is idle for half the lease's
    time to live; a broken network path is detected within the same time. Other limits of the
    database or its role don't count: the run's own ends it.
    """
    half = settings.RAINBO_LEASE_TTL * 1000 // 2
    params = connection.get_connection_params()
    for django_only in ("cursor_factory", "context"):
        params.pop(django_only, None)
    own = libpq.PINNED | {
        "idle_in_transaction_session_timeout": str(half),
        "lock_timeout": str(half),
        "statement_timeout": "0",
        "idle_session_timeout": "0",
        "work_mem": "64MB",
        "temp_buffers": "32MB",
        "default_statistics_target": "10",
        "random_page_cost": "1.1",  # for SSDs, as PostgreSQL's docs advise
    }
    if settings.RAINBO_DB_DIRECT_HOST:
        params["host"] = settings.RAINBO_DB_DIRECT_HOST
        params["port"] = settings.RAINBO_DB_DIRECT_PORT
    session = Session.connect(
        **params
        | {
            "autocommit": True,
            "row_factory": tuple_row,
            "application_name": f"rainbo/{purpose}",
            "keepalives_idle": max(1, half // 3000),
            "keepalives_interval": max(1, half // 6000),
            "keepalives_count": 3,
            "tcp_user_timeout": half,
            "options": libpq.options(own),
        }
    )
    if session.info.server_version >= HAS_TRANSACTION_TIMEOUT:
        session.execute("SET transaction_timeout = 0")
    return session
