"""Ends a run from outside: when a user cancels it, or at its limit."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

import psycopg
from django.conf import settings
from django.db import transaction

from common.errors import RainboError
from syncs.engine import cancel_requests, closing, lease
from syncs.engine.closing import Ending
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.errors import OverLimit
from syncs.models import SyncRun

logger = logging.getLogger("rainbo.run")

CLOSE_INTERVAL = 0.5  # seconds between two attempts to close a run that is over its limit


class Watchdog:
    """Watches one run from the thread that renews its lease.

    A run over its limit is asked to end first; one that goes on loses its lease and is closed
    here, whatever its function does. interrupt: cancels what the run's own session executes.
    """

    def __init__(self, record: SyncRun, sync: Sync, options: Options) -> None:
        self.interrupt: Callable[[], None] = lambda: None
        self._pk = record.pk
        self._options = options
        self._limit = limit_of(sync)
        self._started = time.monotonic()
        self._over_limit: OverLimit | None = None

    def pause(self) -> float:
        return max(CLOSE_INTERVAL, self._started + self._limit - time.monotonic())

    def look(self) -> RainboError | None:
        if self._over_limit is not None:
            self._stop(self._over_limit)
        elif time.monotonic() - self._started > self._limit:
            self._over_limit = OverLimit(_describe(self._limit))
        return self._over_limit or cancel_requests.request_of(self._pk)

    def _stop(self, why: OverLimit) -> None:
        """Fence the run and close it, then interrupt what its session executes."""
        record = SyncRun.objects.get(pk=self._pk)
        with transaction.atomic():
            if lease.revoke(record.sync, record.pk):
                seconds = time.monotonic() - self._started
                closing.close(record, Ending.by(record, why), seconds, self._options)
        logger.error(str(why), extra={"run": record.pk, "sync": record.sync})
        with contextlib.suppress(psycopg.Error):
            self.interrupt()


def limit_of(sync: Sync) -> float:
    """Return a run's maximum seconds: RAINBO_RUN_LIMITS, else the sync's own or the default."""
    own, of_all = sync.limit, float(settings.RAINBO_RUN_LIMIT)
    usual = of_all if own is None else min(own, of_all)
    return float(settings.RAINBO_RUN_LIMITS.get(sync.name, usual))


def _describe(limit: float) -> str:
    return (
        f"it did not finish within its limit of {limit:g} s and was stopped; "
        "nothing was published after that"
    )
