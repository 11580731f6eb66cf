"""Values over time as lines of a small drawing, broken where nothing is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LINE_HEIGHT = 40
MARGIN = 2  # so that the line's own width is not cut


def broken_lines(values: Sequence[float | None]) -> tuple[str, ...]:
    """Points of lines, one unit of width for each value, from zero to the highest of them."""
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    return polylines(
        (n, None if value is None else scaled(value, top, LINE_HEIGHT))
        for n, value in enumerate(values)
    )


def polylines(points: Iterable[tuple[float, float | None]]) -> tuple[str, ...]:
    """The `points` of an SVG polyline for each stretch of points whose y is known."""
    stretches: list[list[str]] = [[]]
    for x, y in points:
        if y is None:
            stretches.append([])
        else:
            stretches[-1].append(f"{round(x, 1):g},{y:.1f}")
    # One point alone is no line: it becomes a short one.
    return tuple(" ".join(s if len(s) > 1 else s * 2) for s in stretches if s)


def scaled(value: float, top: float, height: float) -> float:
    """The y of a value in a drawing of this height, in which y grows downwards."""
    return height - MARGIN - (height - 2 * MARGIN) * value / top
