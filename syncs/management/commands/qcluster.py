from __future__ import annotations

import gc
import logging
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django_q.management.commands.qcluster import Command as Cluster

from common.later import load_all
from syncs.dispatch import reconcile
from syncs.workers import heartbeat
from syncs.workers.cluster import stop_in_time
from syncs.workers.memory import limit_memory

logger = logging.getLogger("rainbo.schedules")


class Command(Cluster):
    help = "Run the workers, after making the stored schedules match the syncs."

    def handle(self, *args: Any, **options: Any) -> None:
        limit_memory()
        _limit_lock_waits()
        try:
            for finding in reconcile.reconcile():
                logger.warning("schedules: %s", finding)
        except DatabaseError as error:  # the workers wait for it; the next start reconciles
            logger.error("could not check the schedules: %s", str(error).partition("\n")[0])
        load_all()
        connection.close()  # the workers are forks: each opens its own
        gc.freeze()  # what is loaded stays shared: collections in forks don't write to it
        super().handle(*args, **options)
        stop_in_time()
        heartbeat.request_maintenance_each_interval()


def _limit_lock_waits() -> None:
    """Set a lock timeout: an idle session that locks one schedule must not stop them all."""
    chosen = connection.settings_dict["OPTIONS"]
    if "options" in chosen:
        half = settings.RAINBO_HEARTBEAT_INTERVAL * 500  # milliseconds
        chosen["options"] += f" -c lock_timeout={half}"
