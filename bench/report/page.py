"""docs/benchmarks.md, made of docs/benchmarks.json, so that the two can't disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.report import number_format
from bench.report.results import KEPT, Bar, Line, Part, load

PAGE = KEPT.with_suffix(".md")
HEAD = """\
# How fast is it?

Measured by `make bench`, `make bench-bloat` and `make bench-models`, which write this page. What it
says was true on the machine named with each table, at that time, and may be otherwise on yours.
A figure to go by is a **ratio** of two things measured in turns in the same minutes; seconds depend
on the machine. In brackets stand the lowest and the highest single run: where they lie far apart,
the machine had other things to do. The hundred instances are databases of two servers on
one machine, so that they share its processor.

- **A** is the baseline of the routing sync: all rows by `psql | psql`, `COPY` to `COPY` in binary,
  into an unlogged table without indexes, on the same two servers.
- **RAINBO** is the whole work of a sync's command: lease, reading, guard, merge, proof, publish,
  record. The start of Python, before it, is left out.
- **PostgreSQL alone** is one part of a sync with nothing around it: no sync that has this part can
  take less. [What limits a sync](what-limits-a-sync.md) goes on from there.
- **One statement after the other** is how the program that RAINBO replaces reads a fleet: for each
  tenant two counts and an upsert, for each ghost user a select and a write, each planned again.
- **Other tools** do the same job where they can: the same rows into a table with three indexes.
  What one leaves undone is said with it. Who knows one of them well may get more out of it.
- **From the source** are the bytes that the source sent, counted by a proxy in a run of its own.
  **WAL** is what the destination's whole server logged, **written** are rows of the destination's
  table.
- **Support access** is measured in a demo of its own, with sessions of HTTP and no browser, in
  turns: a sign-in to its application (form, password, first page), then an entry as support
  (RAINBO's form, the assertion, its redemption, the first page). Most of a sign-in is the hash of
  the password, so that the same is measured with a hash of one round. `python -m bench support`
  repeats this part alone.
- **Bars** are what RAINBO wants to hold. One that is not held is shown as such.

To repeat it: `make bench` (15 to 30 minutes; `ROWS=10000000` for ten million routes, compared
with one million, without other tools and fleet) and `make bench-bloat`. The other tools are
installed below `.cache/`, and need the registries that they come from. Nothing is left running.
"""
COLUMNS = ("who", "what", "seconds", "ratio", "from the source", "WAL", "memory", "written", "note")


def text(parts: Sequence[Part]) -> str:
    told = [line for part in parts for line in _part(part)]
    return "\n".join([HEAD, *(told or ["Nothing has been measured yet.", ""])])


def write(page: Path = PAGE, kept: Path = KEPT) -> None:
    page.write_text(text(load(kept)), encoding="utf-8")


def _part(part: Part) -> Iterator[str]:
    yield f"## {part.title}\n"
    yield "; ".join(f"{name}: {value}" for name, value in part.facts.items()) + "\n"
    if part.bars:
        yield from _table(("bar", "asked", "found", ""), map(_bar, part.bars))
    yield from _table(COLUMNS, map(cells, part.lines))


def _table(names: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _bar(bar: Bar) -> tuple[str, str, str, str]:
    return bar.what, number_format.asked(bar), number_format.found(bar), number_format.verdict(bar)


def cells(line: Line) -> tuple[str, ...]:
    """A line of figures as text, in the order of COLUMNS."""
    return (
        line.who,
        line.what,
        number_format.spread(line.seconds),
        number_format.spread(line.ratio),
        number_format.size(line.wire),
        number_format.size(line.wal),
        number_format.memory(line.memory),
        number_format.rows(line.written),
        line.note,
    )
