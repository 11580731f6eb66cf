"""Keeps the workers of this machine at work: watches a `qcluster` and starts it anew."""

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

LOOK_EVERY = 0.5
SLEPT = 10.0  # a supervisor that did not look for so long can't judge what it did not see


class Told(BaseException):
    """The supervisor was told to stop, while it looks or waits for an answer."""


class Supervisor:
    """One cluster at a time, until `stop` is called."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self.stopping = False
        self._may_be_cut = False
        self._pause = 0.0

    def stop(self, *_: object) -> None:
        """For a signal's handler: it cuts short what may wait for a database that hangs."""
        self.stopping = True
        if self._may_be_cut:
            self._may_be_cut = False
            raise Told

    def run(self) -> None:
        """Returns once asked to stop, with no process left."""
        with contextlib.suppress(Told):
            while not self.stopping:
                watched = Watched(Cluster(self.command))
                try:
                    with self._cut_short():
                        why = self._watch(watched)
                finally:
                    end = watched.cluster.stop if self.stopping else watched.cluster.kill
                    end()
                if why:
                    with self._cut_short():
                        report(why)
                        _quietly(heartbeat.requeue_fetched)
                        self._rest(watched.age)

    @contextlib.contextmanager
    def _cut_short(self) -> Iterator[None]:
        self._may_be_cut = True
        try:
            yield
        finally:
            self._may_be_cut = False

    def _watch(self, watched: Watched) -> str:
        """Why the cluster has to be started anew; empty when asked to stop."""
        while not self.stopping:
            if why := watched.look():
                return why
            time.sleep(LOOK_EVERY)
        return ""

    def _rest(self, age: float) -> None:
        """A cluster that can't live, such as without its database, isn't started in a rush."""
        longest = settings.RAINBO_HEARTBEAT_TIMEOUT / 6
        self._pause = 0.0 if age > longest else min(max(1.0, 2 * self._pause), longest)
        until = time.monotonic() + self._pause
        while time.monotonic() < until and not self.stopping:
            time.sleep(LOOK_EVERY)


class Watched:
    """A cluster and when it was last heard of, by this process's own monotonic clock."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._born = self._looked = self._heard = time.monotonic()
        self._sent = float("-inf")
        self._sign: datetime | None = None
        self._lost = False

    @property
    def age(self) -> float:
        return time.monotonic() - self._born

    def look(self) -> str:
        """What is wrong with the cluster, in words; empty when nothing is."""
        now = time.monotonic()
        if now - self._looked > SLEPT:
            self._heard = now
        self._looked = now
        if not self.cluster.main_lives:
            return "the workers' main process ended"
        try:
            self._listen(now)
        except Error as error:
            # Without its database no cluster can be heard; it finds back to it by itself.
            logger.warning("RAINBO's own database is away: %s", str(error).partition("\n")[0])
            connection.close()
            self._heard = now
        silence = now - self._heard
        if silence > settings.RAINBO_HEARTBEAT_TIMEOUT:
            return f"no sign of life came through the workers for {silence:.0f} s"
        return ""

    def _listen(self, now: float) -> None:
        self._lost = self.cluster.has_lost_one() or self._lost
        if self._lost:
            heartbeat.requeue_fetched()
            self._lost = False
        sign = heartbeat.latest(self.cluster.place, self.cluster.pids())
        if sign != self._sign and sign is not None:
            self._sign, self._heard = sign, now
        if now - self._sent > settings.RAINBO_HEARTBEAT_INTERVAL:
            self._sent = now
            heartbeat.request(self.cluster.place, self.cluster.session)


def report(why: str) -> None:
    """Say, in the log and in the database, that the workers are started anew."""
    message = f"{why}: all of them were killed and start anew"
    logger.error(message)
    _quietly(lambda: WorkerEvent.objects.create(host=socket.gethostname(), message=message))


def _quietly(act: Callable[[], object]) -> None:
    """Do it unless RAINBO's own database is away."""
    try:
        act()
    except Error:
        connection.close()
