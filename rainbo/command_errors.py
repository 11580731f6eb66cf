"""What a person reads when a management command fails: one sentence, and an exit code."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, OperationalError, connections

from common.errors import RainboError, UsageError
from common.read_only import READ_ONLY, is_read_only
from common.redaction import redact
from common.terminal import printable

UNDEFINED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)


@dataclass(frozen=True)
class CommandFailure:
    sentence: str
    exit_code: int = 1


def explain(error: BaseException) -> CommandFailure | None:
    """None for what nobody foresaw: only a traceback helps there."""
    if isinstance(error, UsageError):
        return CommandFailure(_told(error), exit_code=2)
    if isinstance(error, RainboError | ImproperlyConfigured):
        return CommandFailure(_told(error))
    if is_read_only(error):
        return CommandFailure(f"{READ_ONLY}.")
    if isinstance(error, DatabaseError | InterfaceError):
        return _own_database(error)
    return None


def _told(error: Exception) -> str:
    return printable(redact(str(error)))


def _own_database(error: DatabaseError | InterfaceError) -> CommandFailure | None:
    cause = error.__cause__
    if isinstance(cause, UNDEFINED):
        return CommandFailure(f"{_name()} is not up to date: run manage.py migrate.")
    if isinstance(error, OperationalError | InterfaceError):
        reason = redact(str(error).strip().partition("\n")[0])
        return CommandFailure(
            f"{_name()} cannot be used: {reason}. Is it up, and is RAINBO_DB_* right?"
        )
    return None


def _name() -> str:
    own = connections.databases["default"]
    return f"RAINBO's own database ({own['NAME']} on {own['HOST']}, port {own['PORT']})"
