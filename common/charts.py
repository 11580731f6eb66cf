"""Values over time as lines of a small drawing, broken where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

LINE_HEIGHT = 40
MARGIN = 2  # so that the line's own width is not cut


def broken_lines(values: Sequence[float | None]) -> tuple[str, ...]:
    """Points of lines, one unit of width for each value, from zero to the highest of them."""
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    lines = []
    for is_known, run in groupby(enumerate(values), key=lambda item: item[1] is not None):
        if is_known:
            points = [f"{n},{_height(value or 0.0, top):.1f}" for n, value in run]
            lines.append(" ".join(points if len(points) > 1 else points * 2))
    return tuple(lines)


def _height(value: float, top: float) -> float:
    return LINE_HEIGHT - MARGIN - (LINE_HEIGHT - 2 * MARGIN) * value / top
