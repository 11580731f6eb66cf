"""When data was late, when syncs failed or were held, as far as the runs that are kept say.

A run confirmed each instance that it had and that did not fail in it. Instances that it could not
reach are left out: that they were down is a problem of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from common.text import format_duration
from syncs.engine.rolling_up import UNREACHED
from syncs.models import RunState, TargetState
from syncs.status import freshness, queries
from syncs.status.freshness import State
from syncs.status.problems import Link, Past, Problem, Severity, Sight
from syncs.status.queries import Expectation

MOST = 12_000  # runs of a sync that are looked through: of a week, one each minute, and more
MOST_PARTIAL = 500  # of them, those whose parts are
BEFORE = 50  # runs before: the last that confirmed, and those that failed since
CONFIRMING = frozenset({RunState.SUCCEEDED, RunState.PARTIAL})
HELD = (TargetState.HELD,)
NOT_CONFIRMED = (TargetState.FAILED, TargetState.HELD, TargetState.WAITING)
REMARK = (
    "pauses and changes of the schedule: times are judged by the schedule of now; "
    "instances that could not be reached"
)

_RUNS = """
    SELECT wanted.sync, run.id, run.state, run.started_at, run.finished_at, run.discarded_at
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN LATERAL (
           (SELECT id, state, started_at, finished_at, discarded_at FROM syncs_syncrun
             WHERE sync = wanted.sync AND finished_at > %(since)s AND finished_at <= %(until)s
               AND state IN ('succeeded', 'partial', 'held', 'failed', 'lost')
               AND NOT options ? 'dry_run'
             ORDER BY finished_at DESC LIMIT %(most)s)
           UNION ALL
           (SELECT id, state, started_at, finished_at, discarded_at FROM syncs_syncrun
             WHERE sync = wanted.sync AND finished_at <= %(since)s
               AND state IN ('succeeded', 'partial', 'held', 'failed', 'lost')
               AND NOT options ? 'dry_run'
             ORDER BY finished_at DESC LIMIT %(before)s)
           ) AS run
     ORDER BY run.finished_at"""
_PARTS = """
    SELECT run_id, label FROM syncs_runtarget
     WHERE run_id = ANY (%(runs)s) AND state = ANY (%(states)s)
       AND error_kind <> ALL (%(unreached)s)
     ORDER BY run_id, label"""


class Ended(NamedTuple):
    pk: int
    state: RunState
    started_at: datetime | None
    at: datetime
    discarded_at: datetime | None


class Span(NamedTuple):
    """A time in which something was wrong. end: None if it still is. where: an instance, or all."""

    begin: datetime
    end: datetime | None
    where: str


@dataclass(frozen=True)
class Known:
    """The runs of a sync, the oldest first, the instances that failed in them, and the times.

    failed: of what is held, the instances that were held.
    """

    runs: Sequence[Ended]
    failed: Mapping[int, list[str]]
    expected: Expectation
    since: datetime
    until: datetime

    @property
    def good(self) -> list[Ended]:
        return [run for run in self.runs if run.state in CONFIRMING]


Spans = Callable[[Known], Iterator[Span]]


def late(since: datetime, until: datetime) -> Past:
    return _past(since, until, Severity.LATE, lambda known: _overdue(State.LATE, known))


def stale(since: datetime, until: datetime) -> Past:
    return _past(since, until, Severity.STALE, lambda known: _overdue(State.STALE, known))


def failing(since: datetime, until: datetime) -> Past:
    return _past(since, until, Severity.FAILING, _failing)


def held(since: datetime, until: datetime) -> Past:
    return _past(since, until, Severity.HELD, _held, HELD, remark="")


PAST: Mapping[str, Callable[[datetime, datetime], Past]] = {
    Severity.LATE.label: late,
    Severity.STALE.label: stale,
    Severity.FAILING.label: failing,
    Severity.HELD.label: held,
}


def _past(
    since: datetime,
    until: datetime,
    severity: Severity,
    spans_of: Spans,
    states: Sequence[TargetState] = NOT_CONFIRMED,
    remark: str = REMARK,
) -> Past:
    expected = queries.expectations(until)
    runs = _read_runs([*expected], since, until)
    looked_into = (run for of_sync in runs.values() for run in _partial(of_sync)[-MOST_PARTIAL:])
    failed = _failed_parts([run.pk for run in looked_into], states)
    since = max([since, *(at for of_sync in runs.values() for at in _unknown_until(of_sync))])
    sights: list[Sight] = []
    for sync, of_sync in runs.items():
        known = Known(of_sync, failed, expected[sync], since, until)
        sights += _sights(sync, expected[sync], severity, _union(spans_of(known)))
    return Past(sorted(sights, key=lambda sight: sight.at), since, remark)


def _partial(runs: Sequence[Ended]) -> list[Ended]:
    return [run for run in runs if run.state == RunState.PARTIAL]


def _unknown_until(runs: Sequence[Ended]) -> Iterator[datetime]:
    """Times of a sync before which not every run was read, or not what failed in it."""
    if len(runs) >= MOST:
        yield runs[-MOST].at
    if len(partial := _partial(runs)) > MOST_PARTIAL:
        yield partial[-MOST_PARTIAL - 1].at


def _overdue(state: State, known: Known) -> Iterator[Span]:
    """The times between two confirmations in which the state was this one."""
    expected = known.expected
    soonest = timedelta(seconds=expected.usual_seconds) + expected.grace
    for last, next_at, where in _waits(known):
        at, end = last.started_at or last.at, next_at or known.until
        if end <= known.since or end <= at + soonest:  # nothing is late before
            continue
        judged = freshness.judge(
            at, expected.slots(at), expected.usual_seconds, expected.grace, end
        )
        begin = judged.late_at if state is State.LATE else judged.stale_at
        if begin is None or end <= begin:
            continue
        if state is State.LATE and judged.stale_at and judged.stale_at < end:
            yield Span(begin, judged.stale_at, where)
        else:
            yield Span(begin, next_at, where)


def _failing(known: Known) -> Iterator[Span]:
    """From a run that failed to the next that did not."""
    begin: datetime | None = None
    for run in known.runs:
        if run.state in (RunState.FAILED, RunState.LOST):
            begin = begin or run.at
        elif begin and run.state in CONFIRMING:
            yield Span(begin, run.at, "")
            begin = None
    if begin:
        yield Span(begin, None, "")
    good = known.good
    for first, after, where in _stretches(good, known.failed):
        yield Span(good[first].at, good[after].at if after < len(good) else None, where)


def _held(known: Known) -> Iterator[Span]:
    """From a run that was held, or held an instance, until somebody discarded it or another run
    decided: one that is held again goes on with it."""
    begin: datetime | None = None
    discarded: datetime | None = None
    for run in known.runs:
        is_held = run.state == RunState.HELD or run.pk in known.failed
        if not is_held and run.state not in CONFIRMING:
            continue
        if begin:
            yield Span(begin, min(discarded or run.at, run.at), "")
        begin, discarded = (run.at, run.discarded_at) if is_held else (None, None)
    if begin:
        yield Span(begin, discarded, "")


def _waits(known: Known) -> Iterator[tuple[Ended, datetime | None, str]]:
    """A run that confirmed, when the next one had, and whom this is about."""
    good = known.good
    for place, run in enumerate(good, 1):
        yield run, good[place].at if place < len(good) else None, ""
    for first, after, where in _stretches(good, known.failed):
        if first:  # else no run that is kept confirmed it before
            yield good[first - 1], good[after].at if after < len(good) else None, where


def _stretches(
    good: Sequence[Ended], failed: Mapping[int, list[str]]
) -> Iterator[tuple[int, int, str]]:
    """Of each instance, neighbouring runs in which it failed: the first, and the one after."""
    begun: dict[str, int] = {}
    for place, run in enumerate(good):
        now = set(failed.get(run.pk, ()))
        for where in [where for where in begun if where not in now]:
            yield begun.pop(where), place, where
        for where in now:
            begun.setdefault(where, place)
    for where, first in begun.items():
        yield first, len(good), where


def _union(spans: Iterable[Span]) -> Iterator[Span]:
    """Those that overlap as one: of a sync, what is wrong for one cause is one problem."""
    last: Span | None = None
    for span in sorted(spans, key=lambda span: span.begin):
        if last is None:
            last = span
        elif last.end is None or span.begin <= last.end:
            end = None if last.end is None or span.end is None else max(last.end, span.end)
            where = last.where if last.where == span.where else ""
            last = Span(last.begin, end, where)
        else:
            yield last
            last = span
    if last:
        yield last


def _sights(
    sync: str, expected: Expectation, severity: Severity, spans: Iterable[Span]
) -> Iterator[Sight]:
    key = f"sync/{sync}/{severity.label}"
    for span in spans:
        of = f" of {span.where}" if span.where else ""
        words = f"{expected.title[:1].lower()}{expected.title[1:]}{of}: {severity.label}"
        if span.end:
            words += f" for {format_duration(span.end - span.begin)}"
        problem = Problem(key, severity, severity.label, words, Link("sync", sync))
        yield Sight(span.begin, key, problem)
        if span.end:
            yield Sight(span.end, key, None)


def _read_runs(syncs: list[str], since: datetime, until: datetime) -> dict[str, list[Ended]]:
    found: dict[str, list[Ended]] = {sync: [] for sync in syncs}
    parameters: dict[str, Any] = {"syncs": syncs, "since": since, "until": until}
    parameters |= {"most": MOST, "before": BEFORE}
    with connection.cursor() as cursor:
        cursor.execute(_RUNS, parameters)
        for sync, pk, state, *times in cursor.fetchall():
            found[sync].append(Ended(pk, RunState(state), *times))
    return found


def _failed_parts(runs: list[int], states: Sequence[TargetState]) -> dict[int, list[str]]:
    """The instances that ended so in each of these runs, by their labels."""
    found: dict[int, list[str]] = {}
    with connection.cursor() as cursor:
        parameters: dict[str, Any] = {"runs": runs, "states": [*states]}
        parameters["unreached"] = [*UNREACHED]
        cursor.execute(_PARTS, parameters)
        for run, label in cursor.fetchall():
            found.setdefault(run, []).append(label)
    return found
