"""What was published of a target lately, so that small steps are seen together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

LENGTH = timedelta(hours=24)


@dataclass(frozen=True)
class Publish:
    """One publish of a target.

    rows: how many there were afterwards. counts: what the guard counted of it, such as the rows
    removed. same_source: it was read from the same server as now. accepted: a person had accepted
    it.
    """

    rows: int
    counts: Mapping[str, int] = field(default_factory=dict)
    same_source: bool = True
    accepted: bool = False


@dataclass(frozen=True)
class Window:
    """What was published since its beginning. rows: how many there were then."""

    rows: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


NOTHING = Window()


def gather(publishes: Iterable[Publish]) -> Window:
    """Add up the publishes of 24 h, oldest first, after the last one before them.

    A publish that a person accepted, and one of another source, begins a new window. What rises,
    as a negative count, makes up for what fell before, not for what falls afterwards.
    """
    rows: int | None = None
    counts: dict[str, int] = {}
    for publish in publishes:
        if rows is None or publish.accepted or not publish.same_source:
            rows, counts = publish.rows, {}
        else:
            added = publish.counts.items()
            counts |= {name: max(0, counts.get(name, 0) + count) for name, count in added}
    return Window(rows or 0, counts)
