"""Whether a change is plausible, and whether a person has accepted it if it is not.

The `judge` functions are pure: figures in, reasons out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from syncs.engine import held
from syncs.engine.window import NOTHING, Window

if TYPE_CHECKING:
    from syncs.engine.run import Run


@dataclass(frozen=True)
class Limit:
    """More than `floor` rows and more than `percent` of the whole is implausible."""

    floor: int
    percent: float

    def exceeded(self, part: int, whole: int) -> bool:
        return part > max(self.floor, whole * self.percent / 100)


NO_LIMIT = Limit(2**63 - 1, 100)


@dataclass(frozen=True)
class Limits:
    """What is implausible in a change of one target.

    Each counts what a run would do, and what it would do together with the runs of the last 24 h.
    removals: rows that would go. moves: rows that would change instance. columns: rows that would
    change in one column. sums: by how much a count of all rows would fall. emptied: rows whose
    count would fall to nothing.
    """

    removals: Limit
    moves: Limit
    columns: Limit
    sums: Limit = NO_LIMIT
    emptied: Limit = NO_LIMIT


@dataclass(frozen=True)
class CountChange:
    """How a count that each row has, such as its users, would change over the rows that stay.

    what: the things counted. before, after: in all; what is unknown counts as none. had: rows that
    had any. emptied: rows that would have none, less those that would have some again.
    """

    what: str
    before: int
    after: int
    had: int
    emptied: int

    @property
    def lost(self) -> int:
        return self.before - self.after

    @property
    def emptied_name(self) -> str:
        return f"{self.what} emptied"


@dataclass(frozen=True)
class PlannedChange:
    """What a publish would do to one target.

    cached: rows before. read: rows of the source. by_column: rows that change in a column.
    counted: what each row counts. window: what was published lately.
    """

    cached: int
    read: int
    removed: int
    moved: int = 0
    by_column: Mapping[str, int] = field(default_factory=dict)
    counted: tuple[CountChange, ...] = ()
    window: Window = NOTHING

    @property
    def counts(self) -> dict[str, int]:
        """What the windows of later runs need to know of this one."""
        counts = {"removed": self.removed, "moved": self.moved, **self.by_column}
        for count in self.counted:
            counts |= {count.what: count.lost, count.emptied_name: count.emptied}
        return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class Decision:
    """Whether a change may be published.

    reasons: why it must be held for review; empty when it may be published. accepted: there were
    reasons, and a person's acceptance has lifted them.
    """

    reasons: list[str] = field(default_factory=list)
    accepted: bool = False


def decide(
    run: Run,
    target: str,
    change: PlannedChange,
    limits: Limits,
    planned: sql.Composable,
    also: Sequence[str] = (),
) -> Decision:
    """Judge a change of rows; what the run's options accept is lifted.

    planned: a query on the run's session that returns (kind, source_id, detail) of each change.
    also: further reasons to hold it.
    """
    reasons = [*also, *judge(change, limits)]
    by_column = bool(reasons and judge_columns(change, limits.columns))
    decision = decide_reasons(run, target, reasons, planned, columns=by_column)
    if not decision.accepted or not judge_counts(change, limits):
        return decision
    known = held.counts_of(run.options.accept_held, target)
    further = judge_further(change, limits, known)
    return Decision([*reasons, *further]) if further else decision


def decide_reasons(
    run: Run, target: str, reasons: list[str], planned: sql.Composable, *, columns: bool = False
) -> Decision:
    """The same of a change that the sync judges by rules of its own.

    columns: an acceptance must cover every change of a guarded column too.
    """
    accepting = run.options.accept_held
    if not reasons or accepting is None:
        return Decision(reasons)
    beyond = held.why_not_lifted(run.session, accepting, target, planned, columns=columns)
    return Decision([*reasons, beyond]) if beyond else Decision(accepted=True)


def judge(change: PlannedChange, limits: Limits) -> list[str]:
    """Return why the change must be held for review; empty if it may be published."""
    if not change.cached:
        return []
    if not change.read:
        return [f"the source is empty and had {change.cached:,} rows"]
    removed = _judge_rows(change, "removed", limits.removals, "be removed")
    moved = _judge_rows(change, "moved", limits.moves, "change instance")
    return [
        *removed,
        *(f"{reason}: is this the master?" for reason in moved),
        *judge_columns(change, limits.columns),
        *judge_counts(change, limits),
    ]


def judge_columns(change: PlannedChange, columns: Limit) -> list[str]:
    """Return a reason for each column that would change in too many rows."""
    return [
        reason
        for column in change.by_column
        for reason in _judge_rows(change, column, columns, f"change {column}")
    ]


def judge_counts(change: PlannedChange, limits: Limits) -> list[str]:
    """Return a reason for each count that would collapse, in this run or within 24 h."""
    reasons: list[str] = []
    for count in change.counted:
        reasons += _judge_sum(change, count, limits.sums)
        reasons += _judge_emptied(change, count, limits.emptied)
    return reasons


def judge_further(change: PlannedChange, limits: Limits, known: Mapping[str, int]) -> list[str]:
    """Return why counts fall further than a person accepted. known: what the held run counted."""
    return [
        f"{count.what} would fall further than was accepted"
        for count in change.counted
        if limits.sums.exceeded(count.lost - known.get(count.what, 0), count.before)
        or limits.emptied.exceeded(count.emptied - known.get(count.emptied_name, 0), count.had)
    ]


def _judge_sum(change: PlannedChange, count: CountChange, limit: Limit) -> list[str]:
    if limit.exceeded(count.lost, count.before):
        return [_fall(count.what, count.before, count.after)]
    highest = count.before + change.window.counts.get(count.what, 0)
    if count.lost > 0 and limit.exceeded(highest - count.after, highest):
        return [f"{_fall(count.what, highest, count.after)} within 24 h"]
    return []


def _judge_emptied(change: PlannedChange, count: CountChange, limit: Limit) -> list[str]:
    would = f"would have no {count.what}, or an unknown number of them"
    if limit.exceeded(count.emptied, count.had):
        return [f"{_part(count.emptied, count.had)} {would}"]
    before = change.window.counts.get(count.emptied_name, 0)
    emptied, had = before + count.emptied, before + count.had
    if count.emptied > 0 and limit.exceeded(emptied, had):
        return [f"{_part(emptied, had)} {would} within 24 h"]
    return []


def _judge_rows(change: PlannedChange, name: str, limit: Limit, would: str) -> list[str]:
    """Judge the rows of one kind of change: of this run alone, then with those of 24 h.

    A run that changes nothing of the kind is never held for what earlier runs did.
    """
    count, whole = change.counts.get(name, 0), change.cached
    if limit.exceeded(count, whole):
        return [f"{_part(count, whole)} would {would}"]
    before, whole = change.window.counts.get(name, 0), max(whole, change.window.rows)
    if count and limit.exceeded(before + count, whole):
        part = _part(before + count, whole)
        return [f"{part} would {would} within 24 h, {before:,} of them by earlier runs"]
    return []


def judge_whole(held: int, read: int) -> list[str]:
    """Return why everything must be held if too many targets are implausible at once."""
    if held >= 2 and held * 2 > read:
        return [f"{held} of {read} instances are implausible at once"]
    return []


def _fall(what: str, before: int, after: int) -> str:
    return f"{what} would fall from {before:,} to {after:,} ({1 - after / before:.0%} fewer)"


def _part(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} rows ({part / whole:.0%})"
