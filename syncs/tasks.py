"""What the queue calls. It only rings: the runs are RAINBO's own records.

A task may be delivered twice or never. Twice: a slot has one run, and a run that isn't queued
is left as it is. Never: every scheduled task rings again for the runs that still wait.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from common.clock import database_now
from syncs.dispatch import lost_triggers, slots
from syncs.engine import lost_runs, runs
from syncs.engine.host import here
from syncs.engine.options import Options
from syncs.models import RunState, SyncRun, Trigger

RUN_QUEUED = "syncs.tasks.run_queued"
ANSWER_HEARTBEAT = "syncs.tasks.answer_heartbeat"
MAINTAIN = "syncs.tasks.maintain"

_BEAT = """
    INSERT INTO syncs_heartbeat (worker, at) VALUES (%s, clock_timestamp())
        ON CONFLICT (worker) DO UPDATE SET at = excluded.at"""


def run_slot(sync: str, slot: str | None = None) -> None:
    """A schedule's task: run what is due of the sync. slot: the planned time in ISO format."""
    housekeep()
    enqueue_overdue()
    if slot is None:
        runs.execute(runs.request(sync, Options(), Trigger.SCHEDULE))
        return
    record = slots.claim_due(sync, datetime.fromisoformat(slot))
    if record is not None:
        runs.execute(record)


def run_queued(pk: int) -> None:
    """The task of a run that waits: a retry, or what a page, the API or a signal requested."""
    record_heartbeat()
    record = SyncRun.objects.filter(pk=pk).first()
    if record is None or not slots.should_run(record):
        return
    record = runs.execute(record)
    if record.state == RunState.SKIPPED and record.trigger == Trigger.SIGNAL:
        # What it should bring about may be younger than what the run that it met has seen.
        runs.request(record.sync, Options.from_json(record.options), Trigger.SIGNAL, record.actor)


def answer_heartbeat(place: str, session: int, until: str) -> None:
    """The task: a worker of that cluster notes it, one of another hands it on for a while."""
    if (place, session) == (here(), os.getsid(0)):
        maintain()
        return
    housekeep()
    enqueue_overdue()
    if database_now() < datetime.fromisoformat(until):
        async_task(ANSWER_HEARTBEAT, place, session, until)


def maintain() -> None:
    """What no planned time brings about: retries, lost runs, lost rings. Any worker does it."""
    housekeep()
    enqueue_overdue()
    lost_triggers.retrigger()


def housekeep(who: str = "") -> None:
    """Note that this process works, bury lost runs, and keep the planned times in order."""
    record_heartbeat(who)
    lost_runs.close_lost_runs()
    slots.repair_next_runs()


def enqueue(record: SyncRun) -> None:
    """Tell the workers that a run waits. In a transaction, they hear of it at its commit."""
    async_task(RUN_QUEUED, record.pk)


def enqueue_overdue() -> None:
    """Ring for runs whose time has come, and for those whose task was lost.

    Runs of commands are left out: their own process executes them.
    """
    overlooked = Now() - timedelta(seconds=settings.RAINBO_HEARTBEAT_INTERVAL)
    queued = SyncRun.objects.filter(state=RunState.QUEUED).exclude(trigger=Trigger.COMMAND)
    due = Q(not_before=None, created_at__lt=overlooked) | Q(not_before__lte=Now())
    for record in queued.filter(due).order_by("pk"):
        enqueue(record)


def record_heartbeat(who: str = "") -> None:
    """Note, by the database's clock, that this process does its work; who: instead of its id."""
    with connection.cursor() as cursor:
        cursor.execute(_BEAT, [f"{here()}:{who or os.getpid()}"])
