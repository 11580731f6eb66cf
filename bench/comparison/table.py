"""The table of a comparison, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.comparison.figures import Comparison
from bench.report import number_format

COLUMNS = ("part", "line", "in", "base", "ours", "ours/base", "in base's spread")
LEGEND = (
    "A is the baseline of the line's part: of routes `psql | psql`, of the fleet the naive way. "
    "Medians of the turns' medians; in brackets the lowest and the highest single run. "
    "A line counts as within if our median lies between those of the base."
)


def show(found: Sequence[Comparison], console: Console) -> None:
    table = Table(*COLUMNS)
    for comparison in found:
        table.add_row(*cells(comparison))
    console.print(table, markup=False)
    console.print(LEGEND, markup=False)


def cells(found: Comparison) -> tuple[str, ...]:
    part, who, what = found.key
    quotient = found.quotient
    return (
        part,
        f"{who}: {what}",
        found.unit,
        number_format.spread(found.base),
        number_format.spread(found.ours),
        number_format.NONE if quotient is None else f"{quotient:.2f}",
        found.verdict,
    )
