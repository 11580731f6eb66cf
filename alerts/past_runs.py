"""What the rules of runs would have found lately: their facts as they were at each end of a run."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from alerts.rules import RULES, Rule, RunFacts, judge_runs
from alerts.run_facts import HOURS, MISSED_WINDOW
from alerts.run_facts import MOST as MOST_MISSED
from syncs.engine import registry
from syncs.models import RunState
from syncs.status import statistics
from syncs.status.problems import Past, Sight
from syncs.status.statistics import STREAK, End, Statistics, Window

MOST = 20_000  # runs of a sync that are looked through
DAY = timedelta(hours=HOURS)
FAILED = (RunState.FAILED, RunState.LOST)

# By the index of runs in a state. The ids of runs grow with the time of their making.
_MISSED = """
    SELECT sync, finished_at
      FROM (SELECT sync, finished_at, error, slot FROM syncs_syncrun
             WHERE state = 'skipped' AND id >= coalesce(
                   (SELECT id FROM syncs_syncrun WHERE created_at > %(since)s
                     ORDER BY created_at, id LIMIT 1), 0)
             ORDER BY id DESC LIMIT %(most)s) AS skipped
     WHERE slot IS NOT NULL AND error LIKE 'missed:%%'
       AND finished_at > %(since)s AND finished_at <= %(until)s
     ORDER BY finished_at"""


def read(rule: Rule, since: datetime, until: datetime) -> Past:
    """What this rule would have found in the runs of each sync."""
    if rule.name == RULES["missed"].name:
        return _past_of_missed(rule, since, until)
    titles = {sync.name: sync.title for sync in registry.all_syncs()}
    ends = statistics.ends([*titles], Window(since - DAY, until), MOST)
    sights: list[Sight] = []
    begin = since
    for sync, of_sync in ends.items():
        if len(of_sync) >= MOST:
            begin = max(begin, of_sync[-MOST].at + DAY)
        sights += _changes(_judged(rule, sync, titles[sync], of_sync, since, until))
    return Past(sorted(sights, key=lambda sight: sight.at), begin)


def _judged(
    rule: Rule, sync: str, title: str, ends: Sequence[End], since: datetime, until: datetime
) -> Iterator[Sight]:
    """Whenever an execution ends or is a day old, and at the beginning."""
    known = _Counts(sync)
    leaving = (end.at + DAY for end in ends)
    times = heapq.merge([since], (end.at for end in ends), leaving)
    following = iter(ends)
    end = next(following, None)
    for at in times:
        if at > until:
            break
        while end is not None and end.at <= at:
            known.add(end)
            end = next(following, None)
        known.forget(at - DAY)
        if at >= since:
            problem = judge_runs(rule, RunFacts(title, known.statistics()))
            yield Sight(at, f"{sync}/{rule.name}", problem)


@dataclass
class _Counts:
    """The executions of the last day at a time, counted."""

    sync: str
    ends: deque[End] = field(default_factory=deque)
    states: dict[RunState, int] = field(default_factory=lambda: dict.fromkeys(RunState, 0))
    timed: int = 0
    total: float = 0.0
    failures_in_a_row: int = 0
    last: End | None = None

    def add(self, end: End) -> None:
        self.last = end
        self.failures_in_a_row = self.failures_in_a_row + 1 if end.state in FAILED else 0
        self.ends.append(end)
        self._count(end, 1)

    def forget(self, before: datetime) -> None:
        while self.ends and self.ends[0].at <= before:
            self._count(self.ends.popleft(), -1)

    def _count(self, end: End, by: int) -> None:
        self.states[end.state] += by
        if end.seconds is not None:
            self.timed += by
            self.total += by * end.seconds

    def statistics(self) -> Statistics:
        """Without what no rule judges: failures of the last hour, and the 95 % of durations."""
        of = self.states
        return Statistics(
            sync=self.sync,
            executions=len(self.ends),
            successes=of[RunState.SUCCEEDED],
            partial=of[RunState.PARTIAL],
            held=of[RunState.HELD],
            failures=of[RunState.FAILED] + of[RunState.LOST],
            recent_failures=0,
            timed=self.timed,
            total_seconds=self.total if self.timed else None,
            p95_seconds=None,
            last_run=None,
            last_state=self.last and self.last.state,
            last_at=self.last and self.last.at,
            failures_in_a_row=min(self.failures_in_a_row, STREAK),
        )


def _past_of_missed(rule: Rule, since: datetime, until: datetime) -> Past:
    parameters: dict[str, Any] = {"since": since - MISSED_WINDOW, "until": until, "most": MOST}
    with connection.cursor() as cursor:
        cursor.execute(_MISSED, parameters)
        rows = cursor.fetchall()
    sights: list[Sight] = []
    for sync in registry.all_syncs():
        at = [at for name, at in rows if name == sync.name]
        sights += _changes(_missed(rule, sync.name, sync.title, at, since, until))
    begin = rows[0][1] if len(rows) == MOST else since
    return Past(sorted(sights, key=lambda sight: sight.at), begin)


def _missed(
    rule: Rule, sync: str, title: str, missed: Sequence[datetime], since: datetime, until: datetime
) -> Iterator[Sight]:
    known = _Counts(sync)
    window: deque[datetime] = deque()
    following = iter(missed)
    coming = next(following, None)
    for at in heapq.merge([since], missed, (one + MISSED_WINDOW for one in missed)):
        if at > until:
            break
        while coming is not None and coming <= at:
            window.append(coming)
            coming = next(following, None)
        while window and window[0] <= at - MISSED_WINDOW:
            window.popleft()
        if at >= since:
            facts = RunFacts(title, known.statistics(), min(len(window), MOST_MISSED))
            yield Sight(at, f"{sync}/{rule.name}", judge_runs(rule, facts))


def _changes(sights: Iterator[Sight]) -> Iterator[Sight]:
    """Those of one key at which a problem came or went."""
    is_there = False
    for sight in sights:
        if (sight.problem is not None) is not is_there:
            is_there = not is_there
            yield sight
