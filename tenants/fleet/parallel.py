"""Visits many instances at once, each in a thread with a hard time limit."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import psycopg
from django.db import connections

from common.errors import RainboError
from syncs.errors import SourceTimeout
from tenants.fleet.server_errors import translate
from tenants.models import RdsInstance

T = TypeVar("T")

GRACE = 2.0  # seconds for a visit to end after its connection was cut


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The result of one instance: a value or an error."""

    instance: RdsInstance
    value: T | None
    error: RainboError | None
    seconds: float


class ConnectionWatchdog:
    """Cuts a connection from another thread, even if the server does not respond."""

    def __init__(self) -> None:
        self.expired = False
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def over(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        with self._lock:
            self._connection = connection
            if self.expired:
                _cut(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def expire(self) -> None:
        with self._lock:
            self.expired = True
            if self._connection is not None:
                _cut(self._connection)


Work = Callable[[RdsInstance, ConnectionWatchdog], T]


def visit_all(
    instances: Sequence[RdsInstance],
    work: Work[T],
    on_done: Callable[[Outcome[T]], Outcome[T]],
    *,
    threads: int,
    limit: float,
) -> list[Outcome[T]]:
    """Do the work for each instance, `threads` at a time; one failure never stops the others.

    on_done is called in the caller's thread as each ends and returns the outcome to keep. A
    visit that is over its limit is cut, and abandoned if that doesn't end it. Leaving by an
    exception cuts all that are running.
    """
    waiting, running = deque(instances), list[_Visit[T]]()
    ended: queue.SimpleQueue[_Visit[T]] = queue.SimpleQueue()
    started: queue.SimpleQueue[_Visit[T] | None] = queue.SimpleQueue()
    outcomes: dict[int, Outcome[T]] = {}
    threading.Thread(target=_expire, args=(started,), name="visits' limit", daemon=True).start()
    try:
        while waiting or running:
            while waiting and len(running) < threads:
                running.append(_Visit(waiting.popleft(), limit))
                running[-1].start(work, ended)
                started.put(running[-1])
            visit = _next(running, ended)
            running.remove(visit)
            outcomes[visit.instance.pk] = on_done(visit.outcome())
    finally:
        started.put(None)
        for visit in running:
            visit.watch.expire()
        for visit in running:
            visit.thread.join(GRACE)
    return [outcomes[instance.pk] for instance in instances]


@dataclass(eq=False)
class _Visit(Generic[T]):
    instance: RdsInstance
    limit: float
    watch: ConnectionWatchdog = field(default_factory=ConnectionWatchdog)
    started: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    seconds: float | None = None
    value: T | None = None
    error: RainboError | None = None

    def start(self, work: Work[T], ended: queue.SimpleQueue[_Visit[T]]) -> None:
        name = f"instance {self.instance.pk}"
        self.thread = threading.Thread(target=self._run, args=(work, ended), name=name, daemon=True)
        self.thread.start()

    def seconds_left(self) -> float:
        """Return the seconds until this visit is abandoned."""
        return self.started + self.limit + GRACE - time.monotonic()

    def outcome(self) -> Outcome[T]:
        seconds = self.seconds
        if seconds is None or (self.watch.expired and self.value is None):
            late = SourceTimeout(
                f"{self.instance} did not finish within {self.limit:g} s and was stopped: is the "
                "server overloaded or hanging?"
            )
            seconds = time.monotonic() - self.started if seconds is None else seconds
            return Outcome(self.instance, None, late, seconds)
        return Outcome(self.instance, self.value, self.error, seconds)

    def _run(self, work: Work[T], ended: queue.SimpleQueue[_Visit[T]]) -> None:
        try:
            self.value = work(self.instance, self.watch)
        except Exception as error:  # noqa: BLE001 (one bad instance never stops the others)
            self.error = translate(error, self.instance)
        finally:
            self.done.set()
            self.seconds = time.monotonic() - self.started
            connections.close_all()  # those that the work opened in this thread
            ended.put(self)


def _expire(started: queue.SimpleQueue[_Visit[T] | None]) -> None:
    """Cut each visit at its limit. All have the same, so that they reach it in their order."""
    while (visit := started.get()) is not None:
        if not visit.done.wait(max(0.0, visit.started + visit.limit - time.monotonic())):
            visit.watch.expire()


def _next(running: list[_Visit[T]], ended: queue.SimpleQueue[_Visit[T]]) -> _Visit[T]:
    """Return the next visit that ended, or that is over its limit and does not end."""
    while True:
        overdue = min(running, key=lambda visit: visit.seconds_left())
        try:
            visit = ended.get(timeout=max(0.0, overdue.seconds_left()))
        except queue.Empty:
            return overdue
        if visit in running:  # else it was abandoned before
            return visit


def _cut(connection: psycopg.Connection[Any]) -> None:
    with contextlib.suppress(OSError, psycopg.Error):
        number = os.dup(connection.fileno())
        with socket.socket(fileno=number) as line:
            line.shutdown(socket.SHUT_RDWR)
