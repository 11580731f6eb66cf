"""What the queue calls. It only rings: the runs are RAINBO's own records.

A task may be delivered twice or never. Twice: a slot has one run, and a run that isn't queued
is left as it is. Never: every scheduled task rings again for the runs that still wait.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from syncs import runs
from syncs.models import RunState, SyncRun, Trigger
from syncs.options import Options

RUN_QUEUED = "syncs.tasks.run_queued"
OVERLOOKED_AFTER = timedelta(minutes=1)

_BEAT = """
    INSERT INTO syncs_heartbeat (worker, at) VALUES (%s, clock_timestamp())
        ON CONFLICT (worker) DO UPDATE SET at = excluded.at"""


def run_slot(sync: str, slot: str | None = None) -> None:
    """A schedule's task: run the sync for one planned time, given in ISO format."""
    beat()
    ring_for_overlooked()
    planned = None if slot is None else datetime.fromisoformat(slot)
    runs.execute(runs.request(sync, Options(), Trigger.SCHEDULE, slot=planned))


def run_queued(pk: int) -> None:
    """The task of a run that a page, the API or a signal has requested."""
    beat()
    record = SyncRun.objects.filter(pk=pk).first()
    if record is None or record.state != RunState.QUEUED:
        return
    record = runs.execute(record)
    if record.state == RunState.SKIPPED and record.trigger == Trigger.SIGNAL:
        # What it should bring about may be younger than what the run that it met has seen.
        runs.request(record.sync, Options.from_json(record.options), Trigger.SIGNAL, record.actor)


def ring(record: SyncRun) -> None:
    """Tell the workers that a run waits. In a transaction, they hear of it at its commit."""
    async_task(RUN_QUEUED, record.pk)


def ring_for_overlooked() -> None:
    """Ring for runs that have waited too long: their task was lost or came too early.

    Runs of commands are left out: their own process executes them.
    """
    overlooked = SyncRun.objects.filter(
        Q(not_before=None) | Q(not_before__lte=Now()),
        state=RunState.QUEUED,
        created_at__lt=Now() - OVERLOOKED_AFTER,
    ).exclude(trigger=Trigger.COMMAND)
    for record in overlooked.order_by("pk"):
        ring(record)


def beat() -> None:
    """Note, by the database's clock, that this worker's process does its work."""
    with connection.cursor() as cursor:
        cursor.execute(_BEAT, [f"{socket.gethostname()}:{os.getpid()}"])
