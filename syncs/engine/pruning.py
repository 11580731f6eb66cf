"""Deletes old runs in small transactions, except those that are still needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from syncs.engine import registry
from syncs.models import (
    OPEN_STATES,
    Confirmation,
    Heartbeat,
    HeldChange,
    RunTarget,
    SyncRun,
    TargetState,
    WorkerEvent,
)

BATCH = 500
Prune = Callable[[datetime], int]

# Of each target: the newest part that came through, and the newest that is a day old. The guard
# compares with them.
_NEEDED = """
    SELECT DISTINCT ON (run.sync, part.target) part.run_id
      FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
     WHERE part.state = 'succeeded' AND part.total IS NOT NULL
       AND run.finished_at <= %s
     ORDER BY run.sync, part.target, part.run_id DESC"""
_NEWEST_SLOTS = """
    SELECT DISTINCT ON (sync) id FROM syncs_syncrun
     WHERE slot IS NOT NULL ORDER BY sync, slot DESC, attempt DESC"""


@dataclass(frozen=True)
class Pruned:
    """How many rows of a kind were deleted."""

    what: str
    count: int


_others: dict[str, Prune] = {}


def register(what: str, prune: Prune) -> None:
    """Register a function that deletes an app's own rows older than the given time."""
    _others[what] = prune


def prune(now: datetime, days: int) -> list[Pruned]:
    """Delete what ended more than so many days ago; return how many rows of each kind."""
    before = now - timedelta(days=days)
    heartbeats, _ = Heartbeat.objects.filter(at__lt=before).delete()
    events, _ = WorkerEvent.objects.filter(at__lt=before).delete()
    return [
        Pruned("runs", prune_runs(now, before)),
        Pruned("heartbeats", heartbeats),
        Pruned("worker events", events),
        *(Pruned(what, act(before)) for what, act in _others.items()),
    ]


def prune_runs(now: datetime, before: datetime) -> int:
    """Delete ended runs older than the moment; returns how many.

    These are kept: runs with changes of present targets held for review, named by a confirmation or
    compared with by the guard, runs that accepted or superseded a kept run, and those of each
    sync's newest slot: a slot without a run would be run again. Of a kept run that is decided, the
    held changes go.
    """
    _drop_decided_changes(before)
    needed = _needed_by_guard(now) | _of_newest_slots()
    deleted = 0
    while keys := [*_deletable(before, needed).values_list("pk", flat=True)[:BATCH]]:
        SyncRun.objects.filter(pk__in=keys).delete()
        deleted += len(keys)
    return deleted


def _drop_decided_changes(before: datetime) -> None:
    """Delete the held changes of runs that are decided; a run that is kept has their counts."""
    undecided = Q(accepted_by=None, superseded_by=None, discarded_at=None)
    decided = SyncRun.objects.filter(~undecided, finished_at__lt=before)
    for run in decided.filter(Exists(HeldChange.objects.filter(run=OuterRef("pk")))):
        HeldChange.objects.filter(run=run).delete()


def _deletable(before: datetime, needed: set[int]) -> QuerySet[SyncRun]:
    this = OuterRef("pk")
    holding = RunTarget.objects.filter(_takes_part(), run=this, state=TargetState.HELD)
    return (
        SyncRun.objects.filter(finished_at__lt=before)
        .exclude(state__in=OPEN_STATES)
        .exclude(pk__in=needed)
        .exclude(Exists(Confirmation.objects.filter(run=this)))
        .exclude(Exists(SyncRun.objects.filter(accepted_by=this)))
        .exclude(Exists(SyncRun.objects.filter(superseded_by=this)))
        .exclude(Exists(holding), accepted_by=None, superseded_by=None, discarded_at=None)
        .order_by("pk")
    )


def _takes_part() -> Q:
    """The targets that their sync still has: of another, such as a deleted instance or a former
    master, nobody can accept anything.
    """
    present = Q(pk=None)
    for sync in registry.all_syncs():
        present |= Q(run__sync=sync.name, target__in=[target.key for target in sync.targets()])
    return present


def _of_newest_slots() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST_SLOTS)
        return {row[0] for row in cursor.fetchall()}


def _needed_by_guard(now: datetime) -> set[int]:
    found: set[int] = set()
    with connection.cursor() as cursor:
        for moment in (now, now - timedelta(hours=24)):
            cursor.execute(_NEEDED, [moment])
            found |= {row[0] for row in cursor.fetchall()}
    return found
