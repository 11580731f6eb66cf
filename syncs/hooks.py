"""The only place where other apps attach themselves to the engine, which knows none of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, connection, transaction
from django.db.models import QuerySet

from syncs.models import Periodic, SyncRun

logger = logging.getLogger("rainbo.hooks")

EARLY = 0.1  # of its interval a function may come early, so that crontab's jitter skips no minute

_CLAIM = """
    INSERT INTO syncs_periodic AS known (name, claimed_at) VALUES (%(name)s, clock_timestamp())
        ON CONFLICT (name) DO UPDATE SET claimed_at = excluded.claimed_at
     WHERE known.claimed_at <= clock_timestamp() - %(interval)s
        OR known.claimed_at > clock_timestamp() + %(interval)s  -- the clock was set back"""


@dataclass
class RunHook:
    """A signal about one run. Its receivers are called in the order in which they connected."""

    _receivers: list[Callable[[SyncRun], None]] = field(default_factory=list)

    def connect(self, receiver: Callable[[SyncRun], None]) -> None:
        self._receivers.append(receiver)

    def disconnect(self, receiver: Callable[[SyncRun], None]) -> None:
        self._receivers.remove(receiver)

    def send(self, record: SyncRun) -> None:
        """Inside a transaction. A receiver that fails is undone and logged, and stops nothing."""
        for receiver in self._receivers:
            try:
                with transaction.atomic():
                    receiver(record)
            except Exception as error:
                logger.error(
                    "what should follow the end of run %s failed: %s",
                    record.pk,
                    _name(receiver),
                    exc_info=error,
                    extra={"run": record.pk, "sync": record.sync},
                )


# Sent in the transaction that closes the run: what a receiver writes is there if the end is.
run_closed = RunHook()


@dataclass(frozen=True)
class MessageRequest:
    """A mail that an app wants to be sent, outside of alerts and their channels.

    key: of what it is about; it is stored and sent once, however often it is asked for. recipient:
    one valid address.
    """

    key: str
    recipient: str
    subject: str
    body: str


@dataclass
class MessageHook:
    """A signal that asks for a mail."""

    _receivers: list[Callable[[MessageRequest], None]] = field(default_factory=list)

    def connect(self, receiver: Callable[[MessageRequest], None]) -> None:
        self._receivers.append(receiver)

    def send(self, request: MessageRequest) -> bool:
        """Inside a transaction; return whether somebody stored it, so that it can be repeated.

        A receiver that fails is undone and logged, and stops nothing.
        """
        stored = False
        for receiver in self._receivers:
            try:
                with transaction.atomic():
                    receiver(request)
                stored = True
            except Exception as error:
                logger.error(
                    "the mail about %s was not stored: %s",
                    request.key,
                    _name(receiver),
                    exc_info=error,
                )
        return stored


# Sent in the transaction that makes a mail necessary: it is stored if that is.
message_requested = MessageHook()

_periodic: dict[str, tuple[timedelta, Callable[[], object]]] = {}


def periodic(seconds: float, function: Callable[[], object]) -> None:
    """Have a function called each so many seconds, by one process of all.

    The main processes of the workers and `schedule_run` call it; it limits its time by itself.
    """
    _periodic[_name(function)] = (timedelta(seconds=seconds), function)


def shortest_interval() -> float:
    """Return how many seconds may pass between two calls of `run_periodic`."""
    intervals = (interval.total_seconds() for interval, _ in _periodic.values())
    return min(intervals, default=float("inf"))


def run_periodic() -> None:
    """Call the functions that are due, each once. A failure is logged and stops nothing."""
    for name, (interval, function) in _periodic.items():
        try:
            if _claim(name, interval):
                function()
        except Error as error:  # the next turn connects again
            logger.error("%s failed in the database: %s", name, str(error).partition("\n")[0])
            connection.close_if_unusable_or_obsolete()
        except Exception as error:
            logger.error("%s failed", name, exc_info=error)


def call_again(function: Callable[[], object]) -> None:
    """Have a function that had more to do called at the next turn, whatever its interval."""
    Periodic.objects.filter(name=_name(function)).delete()


def note(name: str, at: datetime) -> None:
    """Remember when something was done last."""
    Periodic.objects.bulk_create(
        [Periodic(name=name, claimed_at=at)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["claimed_at"],
    )


def noted(name: str) -> QuerySet[Periodic]:
    """The row, if there is one, of when it was done last."""
    return Periodic.objects.filter(name=name)


def last_noted(name: str) -> datetime | None:
    return noted(name).values_list("claimed_at", flat=True).first()


@dataclass(frozen=True)
class TargetGroup:
    """What people call a target, to choose some of them."""

    group: str = ""
    labels: frozenset[str] = frozenset()


_groups: list[Callable[[], Mapping[str, TargetGroup]]] = []


def knows_groups(function: Callable[[], Mapping[str, TargetGroup]]) -> None:
    """Have a function return the groups and labels of targets by their keys."""
    _groups.append(function)


def target_groups() -> dict[str, TargetGroup]:
    return {key: group for function in _groups for key, group in function().items()}


def _claim(name: str, interval: timedelta) -> bool:
    """Whether this process may call it now, by the clock of RAINBO's own database."""
    parameters: dict[str, Any] = {"name": name, "interval": interval * (1 - EARLY)}
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, parameters)
        return bool(cursor.rowcount == 1)


def _name(function: Callable[..., object]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
