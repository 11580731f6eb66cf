"""The run history of every sync as bars: how each run ended, and how long it took."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from django.db import connection

from syncs.models import RunState

SHOWN = 30
CUT = 4  # times the median: what took longer would make all others look alike
LEAST = 0.12  # of the full height: so that every bar can be seen

# Newest first by the index runs_of_a_sync: a plain equality would let the planner walk back
# through all runs of the sync of each minute to find those of the nightly one.
LAST_RUNS = """
    SELECT recent.id, recent.sync, recent.state, recent.started_at, recent.finished_at,
           recent.seconds
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN LATERAL (
           SELECT * FROM syncs_syncrun AS run
            WHERE run.sync BETWEEN wanted.sync AND wanted.sync
              AND run.state NOT IN ('queued', 'running')
              AND NOT run.options ? 'dry_run'
            ORDER BY run.sync, run.id DESC LIMIT %(limit)s
           ) AS recent
     ORDER BY recent.id"""


@dataclass(frozen=True)
class RunBar:
    """One run. height: its duration, as a part of the full height."""

    run: int
    state: RunState
    at: datetime | None
    seconds: float | None
    height: float


@dataclass(frozen=True)
class RunHistory:
    """Oldest first. full: the seconds of a bar of full height. is_cut: some took longer."""

    bars: tuple[RunBar, ...]
    full: float
    is_cut: bool

    @property
    def counts(self) -> list[tuple[RunState, int]]:
        """Count the runs by state, in the order of the states."""
        found = Counter(bar.state for bar in self.bars)
        return [(state, found[state]) for state in RunState if found[state]]


Row = tuple[int, RunState, datetime | None, float | None]


def last_runs(syncs: list[str], limit: int = SHOWN) -> dict[str, RunHistory]:
    """Return the run histories of syncs in one query; without dry, queued and running runs."""
    found: dict[str, list[Row]] = {sync: [] for sync in syncs}
    with connection.cursor() as cursor:
        cursor.execute(LAST_RUNS, {"syncs": syncs, "limit": limit})
        for pk, sync, state, started_at, finished_at, seconds in cursor.fetchall():
            found[sync].append((pk, RunState(state), finished_at or started_at, seconds))
    return {sync: build_history(rows) for sync, rows in found.items()}


def build_history(rows: list[Row]) -> RunHistory:
    """Build bars as high as their runs were long, up to four times the median."""
    known = [seconds for *_, seconds in rows if seconds is not None]
    longest = max(known, default=0.0)
    full = min(longest, CUT * median(known)) if known else 0.0
    bars = [RunBar(*row, height=_height(row[-1], full)) for row in rows]
    return RunHistory(tuple(bars), full, is_cut=longest > full)


def _height(seconds: float | None, full: float) -> float:
    part = seconds / full if seconds and full else 0.0
    return round(min(1.0, max(LEAST, part)), 3)


@dataclass(frozen=True)
class OpenRun:
    """A queued or running run. done of parts: instances that are finished."""

    pk: int
    sync: str
    state: RunState
    since: datetime
    parts: int
    done: int


_OPEN = """
    SELECT run.id, run.sync, run.state,
           coalesce(run.started_at, greatest(run.created_at, run.not_before)),
           count(part.id), count(part.id) FILTER (WHERE part.state <> 'waiting')
      FROM (SELECT * FROM syncs_syncrun WHERE state IN ('queued', 'running')
             ORDER BY state = 'running' DESC, id LIMIT %(limit)s) AS run
      LEFT JOIN syncs_runtarget AS part ON part.run_id = run.id
     GROUP BY run.id, run.sync, run.state, run.started_at, run.created_at, run.not_before
     ORDER BY run.state = 'running' DESC, run.id"""


def open_runs(limit: int = 50) -> dict[str, list[OpenRun]]:
    """Return running and queued runs by sync, running ones first."""
    found: dict[str, list[OpenRun]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"limit": limit})
        rows: list[Any] = cursor.fetchall()
    for pk, sync, state, *rest in rows:
        found.setdefault(sync, []).append(OpenRun(pk, sync, RunState(state), *rest))
    return found
