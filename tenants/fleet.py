"""Connections to instances: the only place that opens them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from psycopg.rows import tuple_row
from psycopg.types.string import TextLoader

from syncs.errors import SourceTimeout, TlsRefused
from tenants import identity
from tenants.models import RdsInstance
from tenants.models.instance import SslMode
from tenants.refusals import translated
from tenants.visits import Outcome, Visits

__all__ = ["Connection", "Outcome", "connect", "each_instance", "reach", "snapshot"]

Connection = psycopg.Connection[tuple[Any, ...]]

LOCK_TIMEOUT = 30  # seconds that a query waits for a table that somebody alters
NOWHERE = "/dev/null/none"  # a path that never exists: no file of the user's home is taken


@contextmanager
def connect(instance: RdsInstance, purpose: str, *, writes: bool = False) -> Iterator[Connection]:
    """An autocommit connection to an instance that proved to be who it was.

    An identity met for the first time is taken, and not remembered. psycopg's errors leave as
    ours.
    """
    with reach(instance, purpose, writes=writes) as connection:
        found = identity.read(connection)
        identity.Register.load().admit(instance, found)
        identity.adopt(instance, found)
        yield connection


@contextmanager
def reach(
    instance: RdsInstance, purpose: str, *, writes: bool = False, limit: float | None = None
) -> Iterator[Connection]:
    """A connection whose server did not prove who it is: for checks alone.

    limit: seconds that a statement may take, when less than RAINBO_STATEMENT_TIMEOUT.
    """
    password = instance.reveal_password()
    with ExitStack() as stack:
        stack.enter_context(translated(instance, password))
        ca = stack.enter_context(_ca_file(instance))
        connection = stack.enter_context(
            psycopg.connect(
                **_who_and_where(instance, password, ca),
                **_patience(),
                application_name=f"rainbo/{purpose}",
                options=_session_settings(writes, limit),
                autocommit=True,
                row_factory=tuple_row,
            )
        )
        _keep_bytes(connection)
        yield connection


@contextmanager
def snapshot(source: psycopg.Connection[Any]) -> Iterator[None]:
    """One REPEATABLE READ READ ONLY transaction: every query in it sees the same moment."""
    source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        if not source.closed and source.info.transaction_status != _IDLE:
            source.execute("ROLLBACK")


_IDLE = psycopg.pq.TransactionStatus.IDLE


def each_instance[T](): ...
