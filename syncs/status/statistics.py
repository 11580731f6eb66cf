"""How syncs did over a window of time: counts, rates and durations of their executions.

An execution is a run that began and ended by itself; dry, skipped and cancelled runs are none.
One that `succeeded` is a success; one that `failed` or was `lost` is a failure; a `partial` or
`held` one is neither, so that the success rate counts only what left every instance equal to its
source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from common.clock import from_iso
from common.errors import UsageError
from common.joint_query import Row, Statement, answer
from syncs.models import RunState

SHORTEST, LONGEST = 1, 168  # hours of a window
STREAK = 100  # failures in a row are counted up to here, however long they go on
RECENT = 10
PARTS = 48  # of a window, for charts

# Literals of the index executions_of_a_sync: each query reads that index alone, or ends after a
# few rows of it.
_EXECUTION = """run.state IN ('succeeded', 'partial', 'held', 'failed', 'lost')
              AND NOT run.options ? 'dry_run'"""
_STATISTICS = f"""
    SELECT wanted.sync, counted.*, last.id AS last_run, last.state AS last_state,
           last.finished_at AS last_at, streak.failures AS failures_in_a_row
      FROM unnest(%(syncs)s::text[]) WITH ORDINALITY AS wanted (sync, place)
     CROSS JOIN LATERAL (
           SELECT count(*) AS executions,
                  count(*) FILTER (WHERE run.state = 'succeeded') AS successes,
                  count(*) FILTER (WHERE run.state = 'partial') AS partial,
                  count(*) FILTER (WHERE run.state = 'held') AS held,
                  count(*) FILTER (WHERE run.state IN ('failed', 'lost')) AS failures,
                  count(*) FILTER (WHERE run.state IN ('failed', 'lost')
                                     AND run.finished_at > %(hour_ago)s) AS recent_failures,
                  count(run.seconds) AS timed, sum(run.seconds) AS total_seconds,
                  percentile_disc(0.95) WITHIN GROUP (ORDER BY run.seconds) AS p95_seconds
             FROM syncs_syncrun AS run
            WHERE run.sync = wanted.sync
              AND run.finished_at > %(since)s AND run.finished_at <= %(until)s
              AND {_EXECUTION}
           ) AS counted
      LEFT JOIN LATERAL (
           SELECT run.id, run.state, run.finished_at FROM syncs_syncrun AS run
            WHERE run.sync = wanted.sync AND run.finished_at <= %(until)s
              AND {_EXECUTION}
            ORDER BY run.finished_at DESC LIMIT 1
           ) AS last ON true
     CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE newest.all_failed) AS failures
             FROM (SELECT bool_and(run.state IN ('failed', 'lost'))
                             OVER (ORDER BY run.finished_at DESC
                                   ROWS UNBOUNDED PRECEDING) AS all_failed
                     FROM syncs_syncrun AS run
                    WHERE run.sync = wanted.sync AND run.finished_at <= %(until)s
                      AND {_EXECUTION}
                    ORDER BY run.finished_at DESC LIMIT %(streak)s) AS newest
           ) AS streak
     ORDER BY wanted.place"""  # noqa: S608 (constants of this module)
_RECENT = f"""
    SELECT recent.*
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN LATERAL (
           SELECT run.sync, run.id, run.state, run.trigger, run.started_at, run.finished_at,
                  run.seconds, run.error
             FROM syncs_syncrun AS run
            WHERE run.sync = wanted.sync
              AND run.finished_at > %(since)s AND run.finished_at <= %(until)s
              AND {_EXECUTION}
            ORDER BY run.finished_at DESC LIMIT %(limit)s
           ) AS recent
     ORDER BY recent.finished_at DESC, recent.id DESC"""  # noqa: S608
# Of the index alone: the executions of a window, and the last ones before it.
_ENDS = f"""
    SELECT wanted.sync, execution.*
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN LATERAL (
           (SELECT run.finished_at, run.state, run.seconds FROM syncs_syncrun AS run
             WHERE run.sync = wanted.sync
               AND run.finished_at > %(since)s AND run.finished_at <= %(until)s
               AND {_EXECUTION}
             ORDER BY run.finished_at DESC LIMIT %(most)s)
           UNION ALL
           (SELECT run.finished_at, run.state, run.seconds FROM syncs_syncrun AS run
             WHERE run.sync = wanted.sync AND run.finished_at <= %(since)s
               AND {_EXECUTION}
             ORDER BY run.finished_at DESC LIMIT %(before)s)
           ) AS execution
     ORDER BY execution.finished_at"""  # noqa: S608 (constants of this module)
# Each part is a range of the index: neither sorted nor grouped.
_COURSE = f"""
    SELECT wanted.sync, part.n, counted.*
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN generate_series(0, %(parts)s - 1) AS part (n)
     CROSS JOIN LATERAL (
           SELECT count(*),
                  count(*) FILTER (WHERE run.state = 'succeeded'),
                  count(*) FILTER (WHERE run.state IN ('failed', 'lost')),
                  avg(run.seconds), min(run.seconds), max(run.seconds)
             FROM syncs_syncrun AS run
            WHERE run.sync = wanted.sync
              AND run.finished_at > %(since)s + part.n * %(step)s
              AND run.finished_at <= %(since)s + (part.n + 1) * %(step)s
              AND {_EXECUTION}
           ) AS counted"""  # noqa: S608


@dataclass(frozen=True)
class Window:
    """The time after `since` up to and with `until`."""

    since: datetime
    until: datetime

    @classmethod
    def of(cls, hours: int, now: datetime) -> Window:
        """The last so many hours. Raises UsageError unless they are 1 to 168."""
        if not SHORTEST <= hours <= LONGEST:
            raise UsageError(f"a window has {SHORTEST} to {LONGEST} hours, not {hours}")
        return cls(now - timedelta(hours=hours), now)

    @property
    def hours(self) -> int:
        return round((self.until - self.since) / timedelta(hours=1))


@dataclass(frozen=True)
class Statistics:
    """What the executions of a sync that ended in a window add up to.

    recent_failures: of the window's last hour. timed: executions whose duration is known; that of
    a lost run is not. p95_seconds: 95 % of them took no longer. last_*: the last execution up to
    the window's end, though it may have ended before the window began. failures_in_a_row: up to
    the window's end, counted to 100.
    """

    sync: str
    executions: int
    successes: int
    partial: int
    held: int
    failures: int
    recent_failures: int
    timed: int
    total_seconds: float | None
    p95_seconds: float | None
    last_run: int | None
    last_state: RunState | None
    last_at: datetime | None
    failures_in_a_row: int

    @property
    def success_rate(self) -> float | None:
        """Successes as a fraction of the executions; None without any."""
        return self.successes / self.executions if self.executions else None

    @property
    def average_seconds(self) -> float | None:
        return None if self.total_seconds is None else self.total_seconds / self.timed


@dataclass(frozen=True)
class Execution:
    """One execution: seconds is None where unknown, error is empty where there was none."""

    sync: str
    run: int
    state: RunState
    trigger: str
    started_at: datetime | None
    finished_at: datetime
    seconds: float | None
    error: str


class End(NamedTuple):
    """How and when an execution ended; seconds: None where unknown."""

    at: datetime
    state: RunState
    seconds: float | None


@dataclass(frozen=True)
class Part:
    """A part of a window and the executions that ended in it; all parts are equally long."""

    since: datetime
    executions: int = 0
    successes: int = 0
    failures: int = 0
    average_seconds: float | None = None
    shortest_seconds: float | None = None
    longest_seconds: float | None = None


def statistics(syncs: Sequence[str], window: Window) -> dict[str, Statistics]:
    """Return the statistics of each sync, in the given order, by one query."""
    return statistics_in(answer({"statistics": ask(syncs, window)})["statistics"])


def ask(
    syncs: Sequence[str],
    window: Window,
    more: str = "SELECT * FROM known",
    parameters: Mapping[str, object] | None = None,
) -> Statement:
    """The question whose answer `statistics_in` takes. more: a SELECT from these, as `known`."""
    given = _given(syncs, window, hour_ago=window.until - timedelta(hours=1), streak=STREAK)
    return Statement(f"WITH known AS ({_STATISTICS}) {more}", given | dict(parameters or {}))


def statistics_in(rows: Iterable[Row]) -> dict[str, Statistics]:
    """Like `statistics`, of rows that were read."""
    return {row["sync"]: statistics_of(row) for row in rows}


def recent_executions(
    syncs: Sequence[str], window: Window, limit: int = RECENT
) -> dict[str, list[Execution]]:
    """Return the last executions of each sync that ended in the window, newest first."""
    found: dict[str, list[Execution]] = {sync: [] for sync in syncs}
    for sync, pk, state, *rest in _rows(_RECENT, syncs, window, limit=limit):
        found[sync].append(Execution(sync, pk, RunState(state), *rest))
    return found


def ends(syncs: Sequence[str], window: Window, most: int) -> dict[str, list[End]]:
    """Return the last executions of each sync in a window, and 100 before it, the oldest first.

    most: of the window.
    """
    found: dict[str, list[End]] = {sync: [] for sync in syncs}
    for sync, at, state, seconds in _rows(_ENDS, syncs, window, most=most, before=STREAK):
        found[sync].append(End(at, RunState(state), seconds))
    return found


def course(syncs: Sequence[str], window: Window, parts: int = PARTS) -> dict[str, tuple[Part, ...]]:
    """Return the parts of the window for each sync, oldest first, by one query."""
    step = (window.until - window.since) / parts
    empty = [Part(window.since + n * step) for n in range(parts)]
    found = {sync: [*empty] for sync in syncs}
    for sync, n, *counts in _rows(_COURSE, syncs, window, step=step, parts=parts):
        found[sync][n] = Part(empty[n].since, *counts)
    return {sync: tuple(of_sync) for sync, of_sync in found.items()}


def statistics_of(row: Row) -> Statistics:
    state = row["last_state"]
    last = {"last_state": state and RunState(state), "last_at": from_iso(row["last_at"])}
    return Statistics(**row | last)


def _rows(
    statement: str, syncs: Sequence[str], window: Window, **parameters: Any
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, _given(syncs, window, **parameters))
        return list(cursor.fetchall())


def _given(syncs: Sequence[str], window: Window, **parameters: Any) -> dict[str, Any]:
    known = {"syncs": [*syncs], "since": window.since, "until": window.until}
    return known | parameters
