"""The functions that the queue calls. A task only triggers: the runs are RAINBO's own records.

A task may be delivered twice or never. Twice does no harm: a slot has one run, and a run that
isn't queued is left as it is. If never, every scheduled task enqueues overdue runs again.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from common.clock import database_now
from common.encryption import key_digests
from syncs.dispatch import lost_triggers, slots
from syncs.engine import lost_runs, runs
from syncs.engine.host import here
from syncs.engine.options import Options
from syncs.models import PATIENT, RunState, SyncRun, Trigger

RUN_QUEUED = "syncs.tasks.run_queued"
ANSWER_HEARTBEAT = "syncs.tasks.answer_heartbeat"
MAINTAIN = "syncs.tasks.maintain"

# Who asks for a sync sees what others asked for before.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('rainbo.request ' || %s, 0))"

_HEARTBEAT = """
    INSERT INTO syncs_heartbeat (worker, at, keys) VALUES (%s, clock_timestamp(), %s)
        ON CONFLICT (worker) DO UPDATE SET at = excluded.at, keys = excluded.keys"""


@dataclass(frozen=True)
class Requested:
    """The run that will do what was asked for. joined: another had asked for it before."""

    run: SyncRun
    joined: bool


def run_slot(sync: str, slot: str | None = None) -> None:
    """Run what is due of the sync: a schedule's task. slot: in ISO format."""
    housekeep()
    enqueue_overdue()
    if slot is None:
        _execute(runs.request(sync, Options(), Trigger.SCHEDULE))
        return
    record = slots.claim_due(sync, datetime.fromisoformat(slot))
    if record is not None:
        _execute(record)


def run_queued(pk: int) -> None:
    """Execute a queued run: a retry, or one that the console, the API or a signal requested."""
    record_heartbeat()
    record = SyncRun.objects.filter(pk=pk).first()
    if record is None or not slots.should_run(record):
        return
    _execute(record)


def _execute(record: SyncRun) -> None:
    """Execute a run, and let the workers know of those that waited for it to end."""
    if not runs.execute(record).is_open:
        queued = SyncRun.objects.filter(sync=record.sync, state=RunState.QUEUED)
        for waiting in queued.filter(trigger__in=PATIENT).order_by("pk"):
            enqueue(waiting)


def answer_heartbeat(place: str, session: int, until: str) -> None:
    """Record a heartbeat if this worker is of that cluster; otherwise requeue the request."""
    if (place, session) == (here(), os.getsid(0)):
        maintain()
        return
    housekeep()
    enqueue_overdue()
    if database_now() < datetime.fromisoformat(until):
        async_task(ANSWER_HEARTBEAT, place, session, until)


def maintain() -> None:
    """Do what no schedule triggers: retries, lost runs, lost tasks. Any worker does it."""
    housekeep()
    enqueue_overdue()
    lost_triggers.retrigger()


def housekeep(who: str = "") -> None:
    """Record a heartbeat, close lost runs and repair next run times."""
    record_heartbeat(who)
    lost_runs.close_lost_runs()
    slots.repair_next_runs()


def enqueue(record: SyncRun) -> None:
    """Enqueue a run for the workers; in a transaction, they see it after the commit."""
    async_task(RUN_QUEUED, record.pk)


def request(sync: str, options: Options, trigger: Trigger, actor: str) -> Requested:
    """Request a run that a worker executes, or join one that waits and would do the same.

    However many ask at once, one run waits. Raises UsageError like `runs.request`.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_ONE_AT_A_TIME, [sync])
        if waiting := runs.waiting(sync, options):
            return Requested(waiting, joined=True)
        record = runs.request(sync, options, trigger, actor)
        enqueue(record)
    return Requested(record, joined=False)


def enqueue_overdue() -> None:
    """Enqueue runs that are due, and those whose task was lost.

    Runs of commands are skipped: their own process executes them.
    """
    overlooked = Now() - timedelta(seconds=settings.RAINBO_HEARTBEAT_INTERVAL)
    queued = SyncRun.objects.filter(state=RunState.QUEUED).exclude(trigger=Trigger.COMMAND)
    due = Q(not_before=None, created_at__lt=overlooked) | Q(not_before__lte=Now())
    for record in queued.filter(due).order_by("pk"):
        enqueue(record)


def record_heartbeat(who: str = "") -> None:
    """Record, by the database's clock, that this process works. who: replaces its id."""
    with connection.cursor() as cursor:
        worker = f"{here()}:{who or os.getpid()}"
        cursor.execute(_HEARTBEAT, [worker, json.dumps(key_digests())])
