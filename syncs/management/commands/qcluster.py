from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django_q.management.commands.qcluster import Command as Cluster

from syncs.dispatch import reconcile
from syncs.workers import heartbeat

logger = logging.getLogger("rainbo.schedules")


class Command(Cluster):
    help = "Runs the workers; first makes the stored schedules agree with the syncs."

    def handle(self, *args: Any, **options: Any) -> None:
        _wait_for_no_lock_for_ever()
        try:
            for finding in reconcile.reconcile():
                logger.warning("schedules: %s", finding)
        except DatabaseError as error:  # the workers wait for it; the next start reconciles
            logger.error("could not look at the schedules: %s", str(error).partition("\n")[0])
        connection.close()  # the workers are forks: each opens its own
        super().handle(*args, **options)
        heartbeat.request_maintenance_each_interval()


def _wait_for_no_lock_for_ever() -> None:
    """Else a session that sleeps with one schedule locked stops the process that guards all."""
    chosen = connection.settings_dict["OPTIONS"]
    if "options" in chosen:
        half = settings.RAINBO_HEARTBEAT_INTERVAL * 500  # milliseconds
        chosen["options"] += f" -c lock_timeout={half}"
