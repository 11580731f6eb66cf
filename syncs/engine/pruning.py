"""Deletes what is old in small transactions, except what is still needed.

It happens by itself once a day, of what grows fastest each hour, a few seconds at a time;
`prune_runs` does it all at once. One process prunes at a time, so that each deleted row is counted
once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.apps import apps
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.utils.module_loading import autodiscover_modules

from common.clock import database_now
from common.errors import RainboError
from syncs import hooks
from syncs.engine import registry, reindexing, rolling_up
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
from syncs.transfer.session import open_session

logger = logging.getLogger("rainbo.pruning")

BATCH = 500
OF_RUNS = "RAINBO_RUN_RETENTION_DAYS"
AT_A_TIME = 10.0  # seconds; the process that does it by itself also asks for heartbeats
_TAKE = "SELECT pg_try_advisory_lock(hashtextextended('rainbo.pruning', 0))"

# Of each target the guard compares with the newest part that came through, and with the newest
# that is a day old: so a part is needed until a later one is a day old. A subquery with a limit,
# for the index runs_of_a_target: a join would read all parts of all runs.
_NEEDED = """
    SELECT DISTINCT part.run_id
      FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
     WHERE part.run_id = ANY (%(runs)s) AND part.state = 'succeeded' AND part.total IS NOT NULL
       AND (SELECT later.id
              FROM syncs_runtarget AS later JOIN syncs_syncrun AS other ON other.id = later.run_id
             WHERE later.target = part.target AND later.run_id > part.run_id
               AND later.state = 'succeeded' AND later.total IS NOT NULL
               AND other.sync = run.sync AND other.finished_at <= %(day_ago)s
             ORDER BY later.run_id LIMIT 1) IS NULL"""
_NEWEST_SLOTS = """
    SELECT DISTINCT ON (sync) id FROM syncs_syncrun
     WHERE slot IS NOT NULL ORDER BY sync, slot DESC, attempt DESC"""


class PruningBusy(RainboError):
    """Old records are being deleted already: try again when that has ended"""

    kind = "busy"
    transient = True


@dataclass(frozen=True)
class Pruned:
    """How many rows of a kind were deleted, as the database counts them.

    complete: no old one that may go is left.
    """

    what: str
    count: int
    complete: bool = True


@dataclass(frozen=True)
class Rule:
    """What goes of some tables after a time. docs/retention.md lists all rules.

    what: the rows, as commands and pages call them. tables: labels of their models. setting: has
    the days; 0 there keeps the rows. Empty: they have an end of their own. since: what the days
    count from. batches: gets the present and the time before which rows are old. It deletes one
    batch after the other, each in a transaction of its own, and yields how many rows each had:
    between two of them it may be left. hourly: not only once a day.
    """

    what: str
    tables: tuple[str, ...]
    setting: str
    since: str
    batches: Callable[[datetime, datetime], Iterator[int]]
    hourly: bool = False

    def days(self, of_runs: int | None) -> int | None:
        """How many days its rows are kept; None if they are kept for ever."""
        if not self.setting:
            return 0
        return (of_runs if self.setting == OF_RUNS else getattr(settings, self.setting)) or None


_rules: dict[str, Rule] = {}  # the engine's own, at the end of this file, come first


def register(*rules: Rule) -> None:
    """Have rows deleted by themselves, and by `prune_runs`."""
    _rules.update({rule.what: rule for rule in rules})


def all_rules() -> list[Rule]:
    """Those of the engine, and of each app's module `pruning`, which is loaded for it."""
    autodiscover_modules("pruning")
    return [*_rules.values()]


def prune(
    now: datetime,
    days: int | None,
    seconds: float = float("inf"),
    record: Callable[[list[Pruned]], object] | None = None,
    *,
    only_hourly: bool = False,
) -> list[Pruned]:
    """Delete what is older than its retention; return how many rows of each kind.

    days: for what is kept as long as runs are; None keeps it. seconds: no batch begins later than
    that. record: is given the result and writes it down, in the transaction that deletes: there is
    one then, and not one for each batch. Raises PruningBusy while another process prunes.
    """
    until = time.monotonic() + seconds
    kinds = {
        rule.what: rule.batches(now, now - timedelta(days=kept))
        for rule in all_rules()
        if (kept := rule.days(days)) is not None and (rule.hourly or not only_hourly)
    }
    with _alone(), transaction.atomic() if record else nullcontext():
        done = [_pruned(what, batches, until) for what, batches in kinds.items()]
        if record:
            record(done)
    return done


def prune_by_itself() -> None:
    """Delete what is older than its retention, for some seconds.

    What is left then is deleted at the next turn, a minute later, and not on the next day.
    """
    _by_itself(prune_by_itself)


def rebuild_indexes_by_itself() -> None:
    """Rebuild, once a day, what rolling up leaves of indexes."""
    if rebuilt := reindexing.rebuild_sparse(tables_of_hourly()):
        logger.info("rebuilt indexes: %s", ", ".join(rebuilt))


def tables_of_hourly() -> set[str]:
    labels = {label for rule in all_rules() if rule.hourly for label in rule.tables}
    return {apps.get_model(label)._meta.db_table for label in labels}


def roll_up_by_itself() -> None:
    """Like `prune_by_itself`, each hour, what grows with each minute."""
    _by_itself(roll_up_by_itself, only_hourly=True)


def _by_itself(function: Callable[[], None], *, only_hourly: bool = False) -> None:
    days = settings.RAINBO_RUN_RETENTION_DAYS or None
    try:
        done = prune(database_now(), days, AT_A_TIME, only_hourly=only_hourly)
    except PruningBusy:
        hooks.call_again(function)
        return
    if any(pruned.count for pruned in done):
        logger.info(
            "deleted old records: %s",
            ", ".join(f"{pruned.what} {pruned.count}" for pruned in done),
        )
    if not all(pruned.complete for pruned in done):
        hooks.call_again(function)


def in_batches(rows: QuerySet[Any]) -> Iterator[int]:
    """Delete rows batch by batch, and yield how many each had."""
    model: type[Model] = rows.model
    while keys := [*rows.order_by("pk").values_list("pk", flat=True)[:BATCH]]:
        yield _delete(model._default_manager.filter(pk__in=keys))


def run_batches(now: datetime, before: datetime) -> Iterator[int]:
    """Delete ended runs older than the moment batch by batch, and yield how many each had.

    These are kept: runs with changes of present targets held for review, named by a confirmation or
    compared with by the guard, runs that accepted or superseded a kept run, and those of each
    sync's newest slot: a slot without a run would be run again. Of a kept run that is decided, the
    held changes go.
    """
    yield from _drop_decided_changes(before)
    newest, day_ago = _ids(_NEWEST_SLOTS), now - timedelta(hours=24)
    while any((yield from _one_pass(before, newest, day_ago))):
        pass  # a run that accepted or superseded one that is gone now may go too


def _one_pass(
    before: datetime, newest: set[int], day_ago: datetime
) -> Generator[int, None, list[int]]:
    """Look at each old run once, in the order of their ids; what is kept isn't looked at again."""
    counts, last = [], 0
    old = _deletable(before)
    while keys := [*old.filter(pk__gt=last).values_list("pk", flat=True)[:BATCH]]:
        last = keys[-1]
        needed = newest | _ids(_NEEDED, runs=keys, day_ago=day_ago)
        gone = [key for key in keys if key not in needed]
        counts.append(_delete(SyncRun.objects.filter(pk__in=gone)))
        yield counts[-1]
    return counts


def _delete(rows: QuerySet[Any]) -> int:
    """Delete rows and what depends on them; return how many of their own kind were there."""
    _, counts = rows.delete()
    return counts.get(rows.model._meta.label, 0)


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the one lock of pruning, in a session of its own: it ends with this process."""
    try:
        session = open_session("pruning")
    except psycopg.OperationalError as error:
        raise OperationalError(str(error)) from error
    with session:
        taken = session.execute(_TAKE).fetchone()
        if taken is None or not taken[0]:
            raise PruningBusy
        yield


def _pruned(what: str, batches: Iterator[int], until: float) -> Pruned:
    """Delete batches until the time is over."""
    count = 0
    while time.monotonic() < until:
        deleted = next(batches, None)
        if deleted is None:
            return Pruned(what, count)
        count += deleted
        if connection.in_atomic_block:  # or all foreign keys are checked at the end, out of time
            connection.check_constraints()
    return Pruned(what, count, complete=False)


def _drop_decided_changes(before: datetime) -> Iterator[int]:
    """Delete the held changes of runs that are decided; a run that is kept has their counts.

    Yields 0 after each run: no run is deleted.
    """
    undecided = Q(accepted_by=None, superseded_by=None, discarded_at=None)
    decided = SyncRun.objects.filter(~undecided, finished_at__lt=before)
    for run in decided.filter(Exists(HeldChange.objects.filter(run=OuterRef("pk")))):
        HeldChange.objects.filter(run=run).delete()
        yield 0


def _deletable(before: datetime) -> QuerySet[SyncRun]:
    this = OuterRef("pk")
    holding = RunTarget.objects.filter(_takes_part(), run=this, state=TargetState.HELD)
    return (
        SyncRun.objects.filter(finished_at__lt=before)
        .exclude(state__in=OPEN_STATES)
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


def _ids(statement: str, **parameters: Any) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return {pk for (pk,) in cursor.fetchall()}


def older(model: type[Model], field: str) -> Callable[[datetime, datetime], Iterator[int]]:
    """Return the batches of a rule whose rows have their age in one field."""
    return lambda _, before: in_batches(model._default_manager.filter(**{f"{field}__lt": before}))


register(
    Rule(
        "runs",
        ("syncs.SyncRun", "syncs.RunTarget", "syncs.RunLog", "syncs.HeldChange"),
        OF_RUNS,
        "the end of the run, with its parts, log and held changes; "
        "[those that are needed](#what-stays-at-any-age) stay",
        run_batches,
    ),
    Rule(
        "heartbeats",
        ("syncs.Heartbeat",),
        OF_RUNS,
        "the last heartbeat of a process",
        older(Heartbeat, "at"),
    ),
    Rule(
        "worker events",
        ("syncs.WorkerEvent",),
        OF_RUNS,
        "the restart",
        older(WorkerEvent, "at"),
    ),
    Rule(
        "repeated parts",
        ("syncs.RunTarget", "syncs.RunLog"),
        "RAINBO_RUN_DETAIL_DAYS",
        "the end of the run; its parts that say what the one before them said are "
        "[counted in the run](#what-is-rolled-up)",
        rolling_up.repeated_parts,
        hourly=True,
    ),
)
