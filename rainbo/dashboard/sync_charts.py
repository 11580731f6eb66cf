"""A sync's executions over a window of time as columns, a line and text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from common.charts import LINE_HEIGHT, polylines, scaled
from common.markup import Tone, seconds_in_words
from common.text import counted, share
from syncs.status.statistics import Part, Window

HEIGHT = 32
TICK = 4  # half the height of a mark
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Block:
    """One result of the executions of a part of the window: a piece of its column."""

    x: int
    y: float
    height: float
    tone: Tone
    title: str


@dataclass(frozen=True)
class Mark:
    """The part with the shortest or the longest execution: a line from y to y2."""

    x: float
    y: float
    y2: float


@dataclass(frozen=True)
class SyncChart:
    """parts: how many there are. outcomes, durations: what is drawn, as text."""

    parts: int
    blocks: tuple[Block, ...]
    outcomes: str
    lines: tuple[str, ...]
    marks: tuple[Mark, ...]
    durations: str
    from_to: tuple[str, str]


def drawn(course: Sequence[Part], window: Window) -> SyncChart | None:
    """Return the chart; None when nothing ended in the window."""
    if not any(part.executions for part in course):
        return None
    shortest, longest = _ends(course)
    top = (longest and longest.longest_seconds) or 1.0
    return SyncChart(
        parts=len(course),
        blocks=tuple(
            block for n, part in enumerate(course) for block in _column(n, part, course, window)
        ),
        outcomes=_outcomes(course),
        lines=polylines((n + 0.5, _y(part.average_seconds, top)) for n, part in enumerate(course)),
        marks=tuple(_marks(course, shortest, longest, top)),
        durations=_durations(course, shortest, longest, window),
        from_to=(_clock(window.since, window), f"{_clock(window.until, window)} {_zone(window)}"),
    )


def _column(n: int, part: Part, course: Sequence[Part], window: Window) -> Iterator[Block]:
    """From the bottom: what succeeded, what was partial or held, what failed."""
    others = part.executions - part.successes - part.failures
    counts = [
        (part.successes, Tone.GOOD, "succeeded"),
        (others, Tone.WARNING, "partial or held"),
        (part.failures, Tone.BAD, "failed"),
    ]
    said = ", ".join(f"{count:,} {name}" for count, _, name in counts if count)
    title = f"{_range(n, course, window)}: {said}"
    below = 0
    for count, tone, _ in counts:
        if count:
            height = HEIGHT * count / part.executions
            y = HEIGHT - HEIGHT * below / part.executions - height
            yield Block(n, round(y, 2), round(height, 2), tone, title)
        below += count


def _outcomes(course: Sequence[Part]) -> str:
    """`288 executions, 97.9 % succeeded; none in 3 of 48 parts`."""
    executions = sum(part.executions for part in course)
    successes = sum(part.successes for part in course)
    empty = sum(not part.executions for part in course)
    gaps = f"; none in {empty} of {len(course)} parts of this time" if empty else ""
    return f"{counted(executions, 'execution')}, {share(successes, executions)} succeeded{gaps}."


def _ends(course: Sequence[Part]) -> tuple[Part | None, Part | None]:
    """Return the parts with the shortest and with the longest execution; None if unknown."""
    known = [part for part in course if part.average_seconds is not None]
    shortest = min(known, key=lambda part: part.shortest_seconds or 0, default=None)
    longest = max(known, key=lambda part: part.longest_seconds or 0, default=None)
    return shortest, longest


def _marks(
    course: Sequence[Part], shortest: Part | None, longest: Part | None, top: float
) -> Iterator[Mark]:
    if shortest is None or longest is None:
        return
    pairs = [(longest, longest.longest_seconds), (shortest, shortest.shortest_seconds)]
    for part, seconds in pairs:
        y = _y(seconds, top)
        if y is not None:
            x = _place(part, course) + 0.5
            yield Mark(x, round(max(0.0, y - TICK), 1), round(min(LINE_HEIGHT, y + TICK), 1))


def _durations(
    course: Sequence[Part], shortest: Part | None, longest: Part | None, window: Window
) -> str:
    """When they ended is known to a part of the window, so that is what is given."""
    if shortest is None or longest is None:
        return "Durations: unknown."
    ends = [
        f"{name} {seconds_in_words(seconds or 0.0)}"
        f" ({_range(_place(part, course), course, window)})"
        for name, part, seconds in (
            ("shortest", shortest, shortest.shortest_seconds),
            ("longest", longest, longest.longest_seconds),
        )
    ]
    return f"Durations: {', '.join(ends)}."


def _place(part: Part, course: Sequence[Part]) -> int:
    return next(n for n, other in enumerate(course) if other is part)


def _range(n: int, course: Sequence[Part], window: Window) -> str:
    """`23:31–00:01`: the time of a part of the window."""
    end = course[n + 1].since if n + 1 < len(course) else window.until
    return f"{_clock(course[n].since, window)}–{_clock(end, window)}"


def _y(seconds: float | None, top: float) -> float | None:
    return None if seconds is None else scaled(seconds, top, LINE_HEIGHT)


def _clock(at: datetime, window: Window) -> str:
    """The time of day; with the day, where the window has that time twice."""
    local = timezone.localtime(at)
    return f"{local:%a %H:%M}" if window.until - window.since >= DAY else f"{local:%H:%M}"


def _zone(window: Window) -> str:
    return f"{timezone.localtime(window.until):%Z}"
