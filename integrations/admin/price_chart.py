"""A model's prices over time: as lines, as text for those who can't see them, and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from common.charts import LINE_HEIGHT, polylines, scaled
from integrations.catalogues.offer import PRICES, price_text
from integrations.models import CatalogueModel, PriceChange

WIDTH = 100
TITLES = {
    "input": "input",
    "output": "output",
    "cache_read": "cache read",
    "cache_write": "cache write",
    "reasoning": "reasoning",
}
Step = tuple[datetime, Decimal | None]  # since when a price is this; None: unknown


@dataclass(frozen=True)
class PriceChart:
    """One price over time. lines: none if nothing is known, or it never changed."""

    title: str
    lines: tuple[str, ...]
    text: str
    width: int = WIDTH


def shown(price: Decimal | None) -> str:
    """`0.15`, `free`, `unknown`."""
    if price is None:
        return "unknown"
    return price_text(price) if price else "free"


def charts(
    row: CatalogueModel, changes: Sequence[PriceChange], now: datetime
) -> tuple[PriceChart, ...]:
    """Return a chart of each price that is or was known."""
    found = []
    for field in PRICES:
        steps = _steps(row, field, [one for one in changes if one.field == field])
        if any(price is not None for _, price in steps):
            found.append(_chart(TITLES[field], steps, row.first_seen_at, now))
    return tuple(found)


def _steps(row: CatalogueModel, field: str, changes: Sequence[PriceChange]) -> list[Step]:
    first = changes[0].old if changes else getattr(row, field)
    return [(row.first_seen_at, first), *((one.at, one.new) for one in changes)]


def _chart(title: str, steps: Sequence[Step], first: datetime, now: datetime) -> PriceChart:
    known = [price for _, price in steps if price is not None]
    text = f"{title}: {shown(steps[-1][1])} now"
    if len(steps) > 1:
        text += f", {shown(steps[0][1])} on {first:%Y-%m-%d}; "
        text += f"lowest {shown(min(known))}, highest {shown(max(known))}"
    lines = polylines(_points(steps, first, now)) if len(steps) > 1 else ()
    return PriceChart(title, lines, f"{text}.")


def _points(
    steps: Sequence[Step], first: datetime, now: datetime
) -> Iterable[tuple[float, float | None]]:
    """A price holds until it changes: each is a level line, and a gap where it is unknown."""
    span = max(now - first, timedelta(seconds=1))
    top = float(max(price for _, price in steps if price is not None)) or 1.0
    ends = [at for at, _ in steps[1:]] + [now]
    for (begin, price), end in zip(steps, ends, strict=True):
        for at in (begin, end):
            y = None if price is None else scaled(float(price), top, LINE_HEIGHT)
            yield (at - first) / span * WIDTH, y
