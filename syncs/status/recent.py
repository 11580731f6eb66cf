"""The last runs of each sync, and the last outcome of each target."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
_ENDED = """
    SELECT * FROM syncs_syncrun AS run
     WHERE run.sync BETWEEN wanted.sync AND wanted.sync
       AND run.state NOT IN ('queued', 'running', 'skipped', 'cancelled')
       AND NOT run.options ? 'dry_run'
     ORDER BY run.sync, run.id DESC LIMIT {limit}"""
_RECENT = f"""
    SELECT wanted.sync, coalesce(recent.usual, 0) AS usual_seconds,
           recent.runs[2:{PARTS_FROM}] AS older,
           last.id AS pk, last.state, last.started_at, last.finished_at, last.seconds, last.error
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN LATERAL (
           SELECT array_agg(run.id ORDER BY run.id DESC) AS runs,
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY run.seconds)
                      FILTER (WHERE run.is_complete AND run.place <= {DURATIONS}) AS usual
             FROM (SELECT ended.id, ended.seconds, ended.is_complete,
                          count(*) FILTER (WHERE ended.is_complete)
                              OVER (ORDER BY ended.id DESC) AS place
                     FROM (SELECT run.id, run.seconds,
                                  run.state IN ('succeeded', 'partial')
                                    AND run.seconds IS NOT NULL AS is_complete
                             FROM ({_ENDED.format(limit=LOOK_BACK)}) AS run) AS ended) AS run
           ) AS recent
      JOIN syncs_syncrun AS last ON last.id = recent.runs[1]"""  # noqa: S608 (constants)
_CONFIRMED = "SELECT sync, target, at, rows FROM syncs_confirmation"
_LAST_RUNS = f"""
    SELECT last.id
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN LATERAL ({_ENDED.format(limit=1)}) AS last"""  # noqa: S608 (a constant)
_PARTS = """
    SELECT DISTINCT ON (run.sync, part.target)
           run.sync, part.target, run.id AS run, run.error AS run_error, part.state, part.note,
           part.error, part.error_kind,
           CASE WHEN run.discarded_at IS NULL THEN ''
                ELSE run.discarded_by || ' discarded it: ' || run.discard_reason END AS discarded,
           coalesce((part.held_counts ->> 'removed')::bigint, 0)
             + coalesce((part.held_counts ->> 'moved')::bigint, 0) AS held
      FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
     WHERE part.run_id = ANY ({runs}) AND {which}
     ORDER BY run.sync, part.target, part.run_id DESC"""
_CAN_FAIL = "part.state IN ('held', 'waiting', 'failed')"
_PARTS_OF_LAST = _PARTS.format(runs=f"ARRAY({_LAST_RUNS})", which=_CAN_FAIL)
# Nearly all: of these nothing else is wanted.
_OTHERS_OF_LAST = f"""
    SELECT run.sync, run.id AS run, array_agg(part.target) AS targets
      FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
     WHERE part.run_id = ANY (ARRAY({_LAST_RUNS})) AND NOT {_CAN_FAIL}
     GROUP BY run.id"""  # noqa: S608 (constants)
# By the index runs_of_a_target.
_PARTS_OF_SOME = _PARTS.format(runs="%(runs)s", which="part.target = ANY (%(targets)s)")
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


class RecentRuns(NamedTuple):
    """The last ended runs of a sync.

    usual_seconds: the median duration of the last DURATIONS complete ones; 0 without any. older:
    the ids of those before the last one, newest first.
    """

    last: LastRun
    usual_seconds: float
    older: tuple[int, ...]


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
    run_error: str = ""
    state: str = ""  # of those that are no failure
    note: str = ""
    error: str = ""
    error_kind: str = ""
    discarded: str = ""
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


def ask(syncs: Sequence[str]) -> Questions:
    """The questions about these syncs, whose answers the functions below take."""
    of_syncs = {"syncs": [*syncs]}
    return {
        "runs": Statement(_RECENT, of_syncs),
        "confirmations": Statement(_CONFIRMED),
        "last parts": Statement(_PARTS_OF_LAST, of_syncs),
        "other last parts": Statement(_OTHERS_OF_LAST, of_syncs),
        "running": Statement(_RUNNING),
    }


def recent_runs(syncs: Sequence[str]) -> dict[str, RecentRuns]:
    """Return what is known of the last ended runs of each sync that has any."""
    return runs_in(answer({"runs": ask(syncs)["runs"]}))


def usual_seconds(sync: str) -> float:
    """Return the usual duration of a sync's runs; 0 if it is not known."""
    known = recent_runs([sync]).get(sync)
    return known.usual_seconds if known else 0.0


def runs_in(answers: Answers) -> dict[str, RecentRuns]:
    """Like `recent_runs`, of rows that were read."""
    found: dict[str, RecentRuns] = {}
    for row in answers["runs"]:
        usual, older = float(row.pop("usual_seconds")), tuple(row.pop("older"))
        row["state"] = RunState(row["state"])
        for name in ("started_at", "finished_at"):
            row[name] = from_iso(row[name])
        found[row["sync"]] = RecentRuns(LastRun(**row), usual, older)
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
    runs: Mapping[str, RecentRuns],
    wanted: Collection[tuple[str, str]],
) -> dict[tuple[str, str], TargetOutcome]:
    """Return each target's outcome in the latest of its sync's recent runs.

    wanted: sync and target. The last run of each sync has most of them; the others are read.
    """
    found = _parts_in(answers["last parts"])
    for row in answers["other last parts"]:
        outcome = TargetOutcome(row["run"])
        found.update(((row["sync"], target), outcome) for target in row["targets"])
    missing = {target for sync, target in wanted if (sync, target) not in found}
    older = [run for of_sync in runs.values() for run in of_sync.older]
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
