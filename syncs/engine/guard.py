"""Whether a change is plausible, and whether a person has accepted it if it is not.

The `judge` functions are pure: figures in, reasons out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from syncs.engine import held

if TYPE_CHECKING:
    from syncs.engine.run import Run


@dataclass(frozen=True)
class Limit:
    """More than `floor` rows and more than `percent` of the whole is implausible."""

    floor: int
    percent: float

    def exceeded(self, part: int, whole: int) -> bool:
        return part > max(self.floor, whole * self.percent / 100)


@dataclass(frozen=True)
class Limits:
    """What is implausible in a change of one target.

    removals: rows that would go, also since 24 h ago. moves: rows that would change instance.
    columns: rows that would change in one column.
    """

    removals: Limit
    moves: Limit
    columns: Limit


@dataclass(frozen=True)
class PlannedChange:
    """What a publish would do to one target.

    cached: rows before. read: rows of the source. by_column: rows that change in a column.
    day_ago: rows 24 h ago, or after the last publish that a person accepted, if later.
    """

    cached: int
    read: int
    removed: int
    moved: int = 0
    by_column: Mapping[str, int] = field(default_factory=dict)
    day_ago: int | None = None


@dataclass(frozen=True)
class Decision:
    """Whether a change may be published.

    reasons: why it must be held for review; empty when it may be published. accepted: there were
    reasons, and a person's acceptance has lifted them.
    """

    reasons: list[str] = field(default_factory=list)
    accepted: bool = False


def decide(
    run: Run, target: str, change: PlannedChange, limits: Limits, planned: sql.Composable
) -> Decision:
    """Judge a change of rows; what the run's options accept is lifted.

    planned: a query on the run's session that returns (kind, source_id, detail) of each change.
    """
    reasons = judge(change, limits)
    by_column = bool(reasons and judge_columns(change, limits.columns))
    return decide_reasons(run, target, reasons, planned, columns=by_column)


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
    reasons = []
    if limits.removals.exceeded(change.removed, change.cached):
        reasons.append(f"{_part(change.removed, change.cached)} would be removed")
    lost = (change.day_ago or 0) - change.read
    if not reasons and change.day_ago and limits.removals.exceeded(lost, change.day_ago):
        reasons.append(f"{_part(lost, change.day_ago)} would be gone since 24 h ago")
    if limits.moves.exceeded(change.moved, change.cached):
        reasons.append(
            f"{_part(change.moved, change.cached)} would change instance: is this the master?"
        )
    return reasons + judge_columns(change, limits.columns)


def judge_columns(change: PlannedChange, columns: Limit) -> list[str]:
    """Return a reason for each column that would change in too many rows."""
    return [
        f"{_part(count, change.cached)} would change {column}"
        for column, count in change.by_column.items()
        if columns.exceeded(count, change.cached)
    ]


def judge_whole(held: int, read: int) -> list[str]:
    """Return why everything must be held if too many targets are implausible at once."""
    if held >= 2 and held * 2 > read:
        return [f"{held} of {read} instances are implausible at once"]
    return []


def _part(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} rows ({part / whole:.0%})"
