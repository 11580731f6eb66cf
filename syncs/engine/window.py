"""What was published of a target lately, so that small steps are seen together. Pure."""

from __future__ import annotations

from collections import Counter
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

    A publish that a person accepted, and one of another source, begins a new window.
    """
    rows: int | None = None
    counts: Counter[str] = Counter()
    for publish in publishes:
        if rows is None or publish.accepted or not publish.same_source:
            rows, counts = publish.rows, Counter()
        else:
            counts.update(publish.counts)
    return Window(rows or 0, dict(counts))
