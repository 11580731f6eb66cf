"""Heartbeats: requests that go through the queue and are answered by a worker of one cluster.

All clusters share one queue; a worker of another cluster that takes a request requeues it.
"""

from __future__ import annotations

import multiprocessing
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error, connection
from django.db.models.functions import Now
from django_q.models import OrmQ
from django_q.tasks import async_task

from common.clock import database_now
from syncs import hooks
from syncs.tasks import ANSWER_HEARTBEAT, MAINTAIN

_HEARTBEATS = """
    SELECT split_part(worker, ':', 2)::int, at FROM syncs_heartbeat
     WHERE worker ~ '^[^:]+:[0-9]+$' AND split_part(worker, ':', 1) = %(place)s
 UNION ALL
    SELECT run.pid, lease.renewed_at
      FROM syncs_lease AS lease JOIN syncs_syncrun AS run ON run.id = lease.run_id
     WHERE run.host = %(place)s AND run.pid IS NOT NULL AND lease.renewed_at IS NOT NULL"""


def request(place: str, session: int) -> None:
    """Request a heartbeat of the cluster whose processes form this session."""
    until = database_now() + timedelta(seconds=settings.RAINBO_HEARTBEAT_INTERVAL)
    async_task(ANSWER_HEARTBEAT, place, session, until.isoformat())


def latest(place: str, pids: set[int]) -> datetime | None:
    """Return the last heartbeat of these processes: an answer, or a renewed lease."""
    with connection.cursor() as cursor:
        cursor.execute(_HEARTBEATS, {"place": place})
        return max((at for pid, at in cursor.fetchall() if pid in pids), default=None)


def requeue_fetched() -> int:
    """Requeue tasks that were fetched and not finished, since their worker may have died.

    The tasks of live workers are delivered twice, which does no harm: a slot has one run, and a
    run that isn't queued is left as it is.
    """
    return int(OrmQ.objects.filter(lock__gt=Now()).update(lock=Now()))


def request_maintenance_each_interval() -> None:
    """Request maintenance until the cluster has ended; called in a cluster's main process.

    Also calls what other apps want to be called periodically, which needs no worker.
    """
    interval: float = settings.RAINBO_HEARTBEAT_INTERVAL
    for cluster in multiprocessing.active_children():
        due = time.monotonic()
        while cluster.is_alive():
            if time.monotonic() >= due:
                due = time.monotonic() + interval
                try:
                    async_task(MAINTAIN)
                except Error:  # RAINBO's own database is down: the workers wait for it too
                    connection.close()
            hooks.run_periodic()
            cluster.join(min(interval, hooks.shortest_interval()))
