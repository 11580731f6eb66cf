"""Figures as people read them."""

from __future__ import annotations

from bench.report.figures import Spread
from bench.report.results import Bar

NONE = "–"


def number(value: float) -> str:
    """Three digits, and no more than the measurement can show."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(found: Spread | None, unit: str = "") -> str:
    """The median, and in brackets how far single runs went."""
    if found is None:
        return NONE
    if found.runs == 1:
        return f"{number(found.median)}{unit}"
    return f"{number(found.median)}{unit} ({number(found.least)} to {number(found.most)})"


def size(count: float | None) -> str:
    if count is None:
        return NONE
    for unit, divisor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= divisor:
            return f"{number(count / divisor)} {unit}"
    return f"{count:,.0f} B"


def memory(megabytes: float | None) -> str:
    return NONE if megabytes is None else f"{number(megabytes)} MB"


def rows(count: float | None) -> str:
    return NONE if count is None else f"{count:,.0f}"


def verdict(bar: Bar) -> str:
    return "held" if bar.held else "not held"


def asked(bar: Bar) -> str:
    return f"{'≥' if bar.at_least else '≤'} {number(bar.asked)} {bar.unit}".rstrip()


def found(bar: Bar) -> str:
    return f"{number(bar.found)} {bar.unit}".rstrip()
