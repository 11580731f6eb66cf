"""The last runs of each sync, and the last outcome of each target."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, NamedTuple

from django.db import connection

from common.clock import from_iso
from common.joint_query import Answers, Questions, Row, Statement, answer
from syncs.engine import lease
from syncs.models import RunState, RunTarget, TargetState
from syncs.status.freshness import Cause, Failure

DURATIONS = 20  # runs whose median is the usual duration
LOOK_BACK = 50  # runs of a sync to search for them, or for one target's last part
UNREACHED = ("connection", "timeout")  # kinds of errors of a target that did not answer
PARTS_FROM = 10  # runs of a sync to search for each target's last part

# BETWEEN, for the index runs_of_a_sync: an equality would let the planner walk back through all
# runs of the sync of each minute to find those of the nightly one. NOT ?, which it takes to be
# common; IS NULL it takes to be rare, and sorts all runs.
_RECENT = """
    SELECT recent.id AS pk, recent.sync, recent.state, recent.started_at, recent.finished_at,
           recent.seconds, recent.error
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN LATERAL (
           SELECT * FROM syncs_syncrun AS run
            WHERE run.sync BETWEEN wanted.sync AND wanted.sync
              AND run.state NOT IN ('queued', 'running', 'skipped', 'cancelled')
              AND NOT run.options ? 'dry_run'
            ORDER BY run.sync, run.id DESC LIMIT %(limit)s
           ) AS recent
     ORDER BY recent.id DESC"""
_CONFIRMED = "SELECT sync, target, at, rows FROM syncs_confirmation"
_PARTS = """
    SELECT DISTINCT ON (run.sync, part.target)
           run.sync, part.target, run.id AS run, run.error AS run_error, part.state, part.note,
           part.error, part.error_kind,
           CASE WHEN run.discarded_at IS NULL THEN ''
                ELSE run.discarded_by || ' discarded it: ' || run.discard_reason END AS discarded,
           coalesce((part.held_counts ->> 'removed')::bigint, 0)
             + coalesce((part.held_counts ->> 'moved')::bigint, 0) AS held
      FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
     WHERE part.run_id = ANY ({runs}) {of_targets}
     ORDER BY run.sync, part.target, part.run_id DESC"""
_PARTS_OF_LAST = _PARTS.format(
    runs=f"ARRAY(SELECT last.pk FROM ({_RECENT}) AS last)",  # noqa: S608 (constants)
    of_targets="",
)
# By the index runs_of_a_target.
_PARTS_OF_SOME = _PARTS.format(runs="%(runs)s", of_targets="AND part.target = ANY (%(targets)s)")
_RUNNING = f"""
    SELECT run.id AS pk, run.sync, run.started_at,
           coalesce({lease.LIVE}, false) AS is_live
      FROM syncs_syncrun AS run
      LEFT JOIN syncs_lease AS lease ON lease.sync = run.sync AND lease.run_id = run.id
     WHERE run.state = 'running' AND run.started_at IS NOT NULL"""  # noqa: S608 (a constant)


_LAST = """
    SELECT last.id
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN LATERAL (
           SELECT part.id
             FROM (SELECT run.id, run.options FROM syncs_syncrun AS run
                    WHERE run.sync = wanted.sync
                    ORDER BY run.id DESC LIMIT %(limit)s) AS recent
             JOIN syncs_runtarget AS part
               ON part.run_id = recent.id AND part.target = %(target)s
            WHERE NOT recent.options ? 'dry_run'
            ORDER BY part.run_id DESC LIMIT 1
           ) AS last"""


class LastRun(NamedTuple):
    pk: int
    sync: str
    state: RunState
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None
    error: str

    def document(self) -> dict[str, Any]:
        """For programs: times in ISO 8601."""
        return {
            "run": self.pk,
            "state": self.state,
            "finished_at": self.finished_at and self.finished_at.isoformat(),
            "seconds": self.seconds,
            "error": self.error,
        }


@dataclass(frozen=True)
class Running:
    """A running run. is_live: it holds its lease; otherwise its process no longer responds."""

    pk: int
    sync: str
    started_at: datetime
    is_live: bool

    def document(self) -> dict[str, Any]:
        """For programs: times in ISO 8601."""
        return {
            "run": self.pk,
            "started_at": self.started_at.isoformat(),
            "holds_lease": self.is_live,
        }


class TargetOutcome(NamedTuple):
    """The outcome of a target's last run. held: removals and moves that it holds."""

    run: int
    run_error: str
    state: str
    note: str
    error: str
    error_kind: str
    discarded: str
    held: int = 0

    def failure(self, *, is_down: bool) -> Failure | None:
        """is_down: whether the target is down at present, whatever it was during the run."""
        if self.state == TargetState.HELD and self.discarded:
            words = f"run {self.run} held it ({self.note}), {self.discarded}"
            return Failure(Cause.DISCARDED, words, self.run)
        if self.state == TargetState.HELD:
            words = f"run {self.run} needs review: {self.note}"
            return Failure(Cause.HELD, words, self.run, self.held)
        if self.state == TargetState.WAITING:
            why = self.run_error or "it ended before it came to this instance"
            return Failure(Cause.FAILING, f"run {self.run}: {why}", self.run)
        if self.state != TargetState.FAILED:
            return None
        cause, words = Cause.FAILING, self.error
        if self.error_kind in UNREACHED:
            cause = Cause.INSTANCE_DOWN if is_down else Cause.FAILING
            words = words if is_down else f"the last run could not reach the instance: {words}"
        return Failure(cause, words, self.run, error_kind=self.error_kind)


def usual_seconds(runs: Iterable[LastRun]) -> float:
    """Return the median duration of the last completed runs; 0 without any."""
    ended = (RunState.SUCCEEDED, RunState.PARTIAL)
    seconds = [run.seconds for run in runs if run.state in ended and run.seconds is not None]
    return median(seconds[:DURATIONS]) if seconds else 0.0


def ask(syncs: Sequence[str]) -> Questions:
    """The questions about these syncs, whose answers the functions below take."""
    of_syncs = {"syncs": [*syncs]}
    return {
        "runs": Statement(_RECENT, of_syncs | {"limit": LOOK_BACK}),
        "confirmations": Statement(_CONFIRMED),
        "last parts": Statement(_PARTS_OF_LAST, of_syncs | {"limit": 1}),
        "running": Statement(_RUNNING),
    }


def recent_runs(syncs: Sequence[str]) -> dict[str, list[LastRun]]:
    """Return the last ended runs of each sync, newest first."""
    return runs_in(answer({"runs": ask(syncs)["runs"]}))


def runs_in(answers: Answers) -> dict[str, list[LastRun]]:
    """Like `recent_runs`, of rows that were read."""
    found: dict[str, list[LastRun]] = {}
    for row in answers["runs"]:
        row["state"] = RunState(row["state"])
        for name in ("started_at", "finished_at"):
            row[name] = from_iso(row[name])
        found.setdefault(row["sync"], []).append(LastRun(**row))
    return found


def confirmations_in(answers: Answers) -> dict[tuple[str, str], tuple[datetime, int]]:
    """Return by sync and target when each was last confirmed, and of how many rows."""
    read_time = datetime.fromisoformat
    return {
        (row["sync"], row["target"]): (read_time(row["at"]), row["rows"])
        for row in answers["confirmations"]
    }


def last_parts(
    answers: Answers,
    runs: Mapping[str, Sequence[LastRun]],
    wanted: Collection[tuple[str, str]],
) -> dict[tuple[str, str], TargetOutcome]:
    """Return each target's outcome in the latest of its sync's recent runs.

    wanted: sync and target. The last run of each sync has most of them; the others are read.
    """
    found = _parts_in(answers["last parts"])
    missing = {target for sync, target in wanted if (sync, target) not in found}
    older = [run.pk for of_sync in runs.values() for run in of_sync[1:PARTS_FROM]]
    if missing and older:
        given = {"runs": older, "targets": [*missing]}
        found = _parts_in(answer({"": Statement(_PARTS_OF_SOME, given)})[""]) | found
    return found


def _parts_in(rows: Iterable[Row]) -> dict[tuple[str, str], TargetOutcome]:
    return {(row.pop("sync"), row.pop("target")): TargetOutcome(**row) for row in rows}


def running_in(answers: Answers) -> dict[str, Running]:
    return {
        row["sync"]: Running(**row | {"started_at": datetime.fromisoformat(row["started_at"])})
        for row in answers["running"]
    }


def last_parts_of(target: str, syncs: Sequence[str]) -> dict[str, RunTarget]:
    """Return a target's last part in each sync's recent runs, with the run."""
    given: dict[str, Any] = {"syncs": [*syncs], "target": target, "limit": LOOK_BACK}
    with connection.cursor() as cursor:
        cursor.execute(_LAST, given)
        ids = [pk for (pk,) in cursor.fetchall()]
    parts = RunTarget.objects.filter(pk__in=ids).select_related("run")
    return {part.run.sync: part for part in parts}
