"""The arithmetic of the table: medians, spreads, ratios, percentiles. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    least: float
    most: float
    runs: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1], len(found))

    def scaled(self, factor: float) -> Spread:
        return Spread(self.median * factor, self.least * factor, self.most * factor, self.runs)


def ratio(ours: Sequence[float], baseline: Sequence[float]) -> Spread:
    """Ours by the baseline: medians by medians, and how far single pairs lie from that.

    The two were taken in turns, so that each of ours has its neighbour in the baseline.
    """
    pairs = [mine / theirs for mine, theirs in zip(ours, baseline, strict=True)]
    middle = statistics.median(ours) / statistics.median(baseline)
    return Spread(middle, min(*pairs, middle), max(*pairs, middle), len(pairs))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values don't exceed (nearest rank)."""
    if not values:
        raise ValueError("no values, no percentile")
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def within(value: float, bar: float, *, at_least: bool = False) -> bool:
    """Whether a bar is held: not above it, or with at_least not below it."""
    return value >= bar if at_least else value <= bar
