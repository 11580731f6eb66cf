"""The table at the end of a benchmark, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.report import number_format
from bench.report.page import COLUMNS, cells
from bench.report.results import Part


def show(parts: Sequence[Part], console: Console) -> None:
    for part in parts:
        _show_lines(part, console)
        _show_bars(part, console)
        console.print("; ".join(f"{name}: {value}" for name, value in part.facts.items()))


def _show_lines(part: Part, console: Console) -> None:
    table = Table(title=part.title)
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for line in part.lines:
        table.add_row(*cells(line))
    console.print(table, markup=False)


def _show_bars(part: Part, console: Console) -> None:
    table = Table("bar", "asked", "found", "")
    for bar in part.bars:
        table.add_row(
            bar.what, number_format.asked(bar), number_format.found(bar), number_format.verdict(bar)
        )
    console.print(table, markup=False)
