"""RAINBO's own database while it accepts no writes: demoted, or set read-only by a disk guard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from django.db import InternalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from psycopg.errors import ReadOnlySqlTransaction

OWN = "on RAINBO's own database"  # the note on errors of the engine's own session
READ_ONLY = (
    "RAINBO's own database is read-only: is it a standby, or is its disk full? RAINBO continues "
    "when it accepts writes again"
)


def is_read_only(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, says so: SQLSTATE 25006.

    Of RAINBO's own database are the errors that Django wraps, and those with the note OWN; a
    standby among the instances reports the same.
    """
    return any(
        (isinstance(cause, InternalError) and isinstance(cause.__cause__, ReadOnlySqlTransaction))
        or (isinstance(cause, ReadOnlySqlTransaction) and OWN in getattr(cause, "__notes__", ()))
        for cause in causes(error)
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and those that it came from."""
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def connect() -> None:
    """Have Django's connections replaced that met it: a session keeps the setting it began with."""
    connection_created.connect(_watch, dispatch_uid="read-only sessions")


def _watch(connection: BaseDatabaseWrapper, **_: object) -> None:
    if _expire_read_only not in connection.execute_wrappers:
        connection.execute_wrappers.append(_expire_read_only)


def _expire_read_only(
    execute: Callable[..., Any], statement: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    try:
        return execute(statement, params, many, context)
    except InternalError as error:
        if is_read_only(error):
            # Django closes it before the next request or task, and outside of transactions only.
            context["connection"].close_at = time.monotonic()
        raise
