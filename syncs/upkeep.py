"""What no planned time brings about: retries, lost runs, lost rings. Asked for by each cluster."""

from __future__ import annotations

import multiprocessing

from django.conf import settings
from django.db import Error, connection
from django_q.tasks import async_task

from syncs import tasks, unheard

TEND = "syncs.upkeep.tend"


def tend() -> None:
    """The task: any worker does it for all."""
    tasks.tend()
    unheard.ring()


def ask_each_beat() -> None:
    """In the main process of a started cluster: ask for it until the cluster has ended."""
    for cluster in multiprocessing.active_children():
        while cluster.is_alive():
            try:
                async_task(TEND)
            except Error:  # RAINBO's own database is away: the workers wait for it too
                connection.close()
            cluster.join(settings.RAINBO_BEAT)
