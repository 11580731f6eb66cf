"""Supervises the workers of this machine: watches a `qcluster` and restarts it."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from django.conf import settings
from django.db import Error, connection

from syncs.models import WorkerEvent
from syncs.workers import heartbeat
from syncs.workers.cluster import Cluster

logger = logging.getLogger("rainbo.workers")

CHECK_INTERVAL = 0.5
MOST_TIMEOUTS = 4  # of RAINBO_HEARTBEAT_TIMEOUT, until the first heartbeat of a cluster
SUSPENDED = 10.0  # a supervisor that was suspended for so long can't judge the heartbeat


class StopRequested(BaseException):
    """The supervisor was asked to stop while it waits for the database."""


class Supervisor:
    """One cluster at a time, until `stop` is called."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self.stopping = False
        self._is_interruptible = False
        self._pause = 0.0
        self._timeouts = 1

    def stop(self, *_: object) -> None:
        """Stop, also while waiting for a database that hangs; a signal handler."""
        self.stopping = True
        if self._is_interruptible:
            self._is_interruptible = False
            raise StopRequested

    def run(self) -> None:
        """Run until `stop` is called; no process is left then."""
        with contextlib.suppress(StopRequested):
            while not self.stopping:
                watched = Watched(Cluster(self.command), self._timeouts)
                try:
                    with self._interruptible():
                        why = self._watch(watched)
                finally:
                    end = watched.cluster.stop if self.stopping else watched.cluster.kill
                    end()
                if why:
                    self._adapt_timeouts(watched)
                    with self._interruptible():
                        report(why)
                        _ignoring_database_errors(heartbeat.requeue_fetched)
                        self._wait(watched.age)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        self._is_interruptible = True
        try:
            yield
        finally:
            self._is_interruptible = False

    def _watch(self, watched: Watched) -> str:
        """Return why the cluster must be restarted; empty after `stop`."""
        while not self.stopping:
            if why := watched.check():
                return why
            time.sleep(CHECK_INTERVAL)
        return ""

    def _adapt_timeouts(self, watched: Watched) -> None:
        """On a busy machine, one that was killed before it had started needs longer than that."""
        self._timeouts = 1 if watched.has_beaten else min(2 * self._timeouts, MOST_TIMEOUTS)

    def _wait(self, age: float) -> None:
        """Wait longer each time before restarting a cluster that ends at once."""
        longest = settings.RAINBO_HEARTBEAT_TIMEOUT / 6
        self._pause = 0.0 if age > longest else min(max(1.0, 2 * self._pause), longest)
        until = time.monotonic() + self._pause
        while time.monotonic() < until and not self.stopping:
            time.sleep(CHECK_INTERVAL)


class Watched:
    """A cluster and its last heartbeat, by this process's own monotonic clock.

    timeouts: how many times RAINBO_HEARTBEAT_TIMEOUT it has until its first heartbeat.
    """

    def __init__(self, cluster: Cluster, timeouts: int = 1) -> None:
        self.cluster = cluster
        self._timeouts = timeouts
        self._born = self._checked = self._last_heartbeat = time.monotonic()
        self._requested = float("-inf")
        self._latest: datetime | None = None
        self._lost = False

    @property
    def age(self) -> float:
        return time.monotonic() - self._born

    @property
    def has_beaten(self) -> bool:
        return self._latest is not None

    def check(self) -> str:
        """Return what is wrong with the cluster; empty if nothing is."""
        now = time.monotonic()
        if now - self._checked > SUSPENDED:
            self._last_heartbeat = now
        self._checked = now
        if not self.cluster.main_lives:
            return "the workers' main process ended"
        try:
            self._check_heartbeat(now)
        except Error as error:
            # Without the database there are no heartbeats; the cluster reconnects by itself.
            logger.warning("RAINBO's own database can't be used: %s", str(error).partition("\n")[0])
            connection.close()
            self._last_heartbeat = now
        elapsed = now - self._last_heartbeat
        timeouts = 1 if self.has_beaten else self._timeouts
        if elapsed > timeouts * settings.RAINBO_HEARTBEAT_TIMEOUT:
            return f"no heartbeat from the workers for {elapsed:.0f} s"
        return ""

    def _check_heartbeat(self, now: float) -> None:
        self._lost = self.cluster.has_lost_one() or self._lost
        if self._lost:
            heartbeat.requeue_fetched()
            self._lost = False
        latest = heartbeat.latest(self.cluster.place, self.cluster.pids())
        if latest != self._latest and latest is not None:
            self._latest, self._last_heartbeat = latest, now
        if now - self._requested > settings.RAINBO_HEARTBEAT_INTERVAL:
            self._requested = now
            heartbeat.request(self.cluster.place, self.cluster.session)


def report(why: str) -> None:
    """Log and store that the workers are restarted."""
    message = f"{why}: all workers were killed and are restarted"
    logger.error(message)
    _ignoring_database_errors(
        lambda: WorkerEvent.objects.create(host=socket.gethostname(), message=message)
    )


def _ignoring_database_errors(act: Callable[[], object]) -> None:
    """Call it; ignore errors of RAINBO's own database."""
    try:
        act()
    except Error:
        connection.close()
