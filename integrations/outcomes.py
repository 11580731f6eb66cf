"""What becomes known of a connection when its part of a run ends, other than a success."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models.functions import Now

from common.errors import RainboError
from integrations import due
from integrations.models import Connection
from integrations.plugin import Reconnect

LONGEST_WAIT = timedelta(days=1)


def mark(connections: Iterable[Connection], run: int) -> None:
    """Mark them as taken by a run; those that it has already keep their time."""
    keys = [connection.pk for connection in connections]
    rows = Connection.objects.filter(pk__in=keys).exclude(run=run)
    rows.update(last_triggered_at=Now(), run=run)


def wait(connection: Connection, seconds: float, now: datetime) -> None:
    """Have it left alone for as long as its service asked. That is no failure, and no success.

    Without an error, `not_before` is what the service asked for.
    """
    until = end_of_wait(seconds, now)
    _update(connection, last_triggered_at=None, not_before=until, last_error="")


def end_of_wait(seconds: float, now: datetime) -> datetime:
    return now + min(timedelta(seconds=max(seconds, 0)), LONGEST_WAIT)


def hold(connection: Connection, why: str, now: datetime) -> None:
    """Leave what is held to a person; it is fetched again in its next period.

    Its service has answered: failures before that count no longer.
    """
    until = now + connection.frequency
    _update(connection, last_triggered_at=None, attempt=0, not_before=until, last_error=why)


def fail(connection: Connection, error: RainboError, now: datetime) -> bool:
    """Record a failure; return whether no retry follows before its next period."""
    why = str(error) or error.kind
    if isinstance(error, Reconnect):
        _update(connection, last_triggered_at=None, reconnect_since=now, last_error=why)
        return False
    attempt, at = due.after_failure(connection.attempt, connection.frequency, now)
    _update(connection, last_triggered_at=None, attempt=attempt, not_before=at, last_error=why)
    return attempt > len(due.RETRIES)


def _update(connection: Connection, **fields: object) -> None:
    """Unless it was connected again meanwhile: then the failure is of the former credentials."""
    rows = Connection.objects.filter(pk=connection.pk, generation=connection.generation)
    rows.update(**fields)
