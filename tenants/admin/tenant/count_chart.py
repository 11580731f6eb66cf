"""A tenant's daily counts as lines, as text and as numbers; days without a count are gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from common.charts import broken_lines
from common.text import counted
from tenants.summaries.history import Day


@dataclass(frozen=True)
class Chart:
    """One count over time. text: what its lines show, for those who can't see them."""

    width: int
    lines: tuple[str, ...]
    text: str


def charts(days: Sequence[Day]) -> tuple[Chart, ...]:
    return (
        _chart("Users", [(day.day, day.users) for day in days]),
        _chart("Locations", [(day.day, day.locations) for day in days]),
    )


def _chart(name: str, counts: Sequence[tuple[date, int | None]]) -> Chart:
    lines = broken_lines([count for _, count in counts]) if len(counts) > 1 else ()
    return Chart(max(1, len(counts) - 1), lines, f"{name}: {_words(counts)}.")


def _words(counts: Sequence[tuple[date, int | None]]) -> str:
    """`12 on 2026-05-04, 9 on 2026-04-01; lowest 8, highest 12; no count on 2 of 34 days`."""
    known = [(day, count) for day, count in counts if count is not None]
    missing = len(counts) - len(known)
    gaps = f"no count on {missing} of {counted(len(counts), 'day')}" if missing else ""
    if not known:
        return gaps or "no count"
    (first, before), (last, now) = known[0], known[-1]
    ends = f"{now:,} on {last}" + (f", {before:,} on {first}" if first != last else "")
    numbers = [count for _, count in known]
    span = f"lowest {min(numbers):,}, highest {max(numbers):,}" if first != last else ""
    return "; ".join(filter(None, [ends, span, gaps]))
