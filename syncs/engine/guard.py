"""Judges whether a change is plausible. Pure: figures in, reasons out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limit:
    """More than `floor` rows and more than `percent` of the whole is implausible."""

    floor: int
    percent: float

    def exceeded(self, part: int, whole: int) -> bool:
        return part > max(self.floor, whole * self.percent / 100)


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


def judge(change: PlannedChange, removals: Limit, moves: Limit, columns: Limit) -> list[str]:
    """Return why the change must be held for review; empty if it may be published."""
    if not change.cached:
        return []
    if not change.read:
        return [f"the source is empty and had {change.cached:,} rows"]
    reasons = []
    if removals.exceeded(change.removed, change.cached):
        reasons.append(f"{_part(change.removed, change.cached)} would be removed")
    lost = (change.day_ago or 0) - change.read
    if not reasons and change.day_ago and removals.exceeded(lost, change.day_ago):
        reasons.append(f"{_part(lost, change.day_ago)} would be gone since 24 h ago")
    if moves.exceeded(change.moved, change.cached):
        reasons.append(
            f"{_part(change.moved, change.cached)} would change instance: is this the master?"
        )
    return reasons + judge_columns(change, columns)


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
