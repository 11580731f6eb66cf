"""Fifty people who read the console without pause, at the big seed; another commit's in turns."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.comparison.checkout import Checkout, checked_out, resolve
from bench.progress import note
from bench.report.figures import Spread, percentile, ratio
from bench.report.results import Bar, Line, Part
from bench.testbed.console import Console
from bench.testbed.readers import Read, read_for
from bench.testbed.servers import Testbed
from localfleet.data.large_seed import Size
from localfleet.folders import CHECKOUT

CACHE = CHECKOUT / ".cache" / "bench-pages"
MOST_BYTES, MOST_CPU, MOST_PSS = 120_000, 0.04, 90.0
POLL_SECONDS, PROCESSES = 5, 2  # how often a page polls; processes that share the polls
PAGES = 200  # one after the other, to measure the processor's time
TIMES = 3.0  # as many pages, in a third of the time
HALVED = ("Now", "Find", "Tenants")  # in the processor's time
Spent = dict[str, list[float]]  # of each kind of page: seconds of the processor of each


def measure(
    testbed: Testbed, base: str, people: int, seconds: float, turns: int, size: Size
) -> Part:
    """base: the commit to compare with; empty for none. seconds: of a turn of either side."""
    with ExitStack() as stack:
        sides = {"RAINBO": Checkout(CHECKOUT, Path())}
        if base:
            commit = resolve(CHECKOUT, base)
            CACHE.mkdir(parents=True, exist_ok=True)
            other = stack.enter_context(checked_out(CHECKOUT, commit, CACHE))
            sides = {commit[:12]: other, **sides}
        consoles = [
            (who, stack.enter_context(_serving(testbed, side, f"pages_{n}", people, size)))
            for n, (who, side) in enumerate(sides.items())
        ]
        taken: dict[str, list[list[Read]]] = {who: [] for who in sides}
        spent: dict[str, list[Spent]] = {who: [] for who in sides}
        for turn in range(turns):
            for who, console in consoles[:: -1 if turn % 2 else 1]:
                read = read_for(seconds, console.address, console.people, turn)
                taken[who].append(read)
                late = percentile([one.seconds for one in read], 95)
                spent[who].append(cost := console.processor(PAGES, turn))
                rate = _rate(read, seconds)
                found = f"{rate:.1f} pages/s, 95 of 100 in {late:.2f} s, {_each(cost):.3f} s each"
                note(f"turn {turn + 1} of {turns}: {who}: {found}")
        lines = [*_lines(taken, seconds), *_processor_lines(spent)]
        bars = [*_load_bars([*taken.values()], seconds), *_processor_bars([*spent.values()])]
        for who, console in consoles:
            sizes, memory = console.list_sizes(), console.worker_memory()
            lines += _own_lines(who, sizes, memory)
            if who == "RAINBO":
                task = {"polls": 40, "people": max(people // POLL_SECONDS // PROCESSES, 1)}
                cpu = testbed.do("polls", task, RAINBO_DB_NAME=console.database)
                for what, found in cpu.items():
                    named = f"a poll of the first page, {what}, processor"
                    lines.append(Line(who, named, Spread.of(found)))
                bars += _own_bars(sizes, memory, cpu["together"])
    facts = {
        "fleet": f"{size.instances} instances, {size.tenants:,} tenants, {size.routes:,} routes",
        "measured": f"{people} people without pause, {PROCESSES} processes with 4 threads, "
        f"{seconds:g} s in turns; the readers and PostgreSQL share the processor",
    }
    return Part("pages", "Pages of the console", lines, bars, facts)


@contextmanager
def _serving(
    testbed: Testbed, side: Checkout, database: str, people: int, size: Size
) -> Iterator[Console]:
    note(f"{database}: {size.tenants:,} tenants, {size.routes:,} routes")
    console = Console(testbed, side, database)
    console.prepare(size, people, datetime.now(UTC))
    with console.serving():
        yield console


def _lines(taken: dict[str, list[list[Read]]], seconds: float) -> Iterator[Line]:
    for who, turns in taken.items():
        rates = ", ".join(f"{_rate(turn, seconds):.1f}" for turn in turns)
        for what, percent in (("half of all pages", 50), ("95 of 100 pages", 95)):
            found = [percentile([one.seconds for one in turn], percent) for turn in turns]
            yield Line(who, what, Spread.of(found), note=f"pages per second: {rates}")
        for kind in sorted({one.kind for turn in turns for one in turn}):
            found = [one.seconds for turn in turns for one in turn if one.kind == kind]
            yield Line(who, f"{kind}, single pages", Spread.of(found))


def _rate(read: Sequence[Read], seconds: float) -> float:
    return sum(one.in_time for one in read) / seconds


def _processor_lines(spent: dict[str, list[Spent]]) -> Iterator[Line]:
    for who, turns in spent.items():
        yield Line(who, "processor of a page", Spread.of([_each(turn) for turn in turns]))
        for kind in turns[0]:
            found = [seconds for turn in turns for seconds in turn[kind]]
            yield Line(who, f"{kind}, processor", Spread.of(found))


def _processor_bars(sides: Sequence[list[Spent]]) -> Iterator[Bar]:
    if len(sides) < 2:
        return
    base, ours = ([_each(turn) for turn in side] for side in sides)
    yield Bar("processor of a page, to the other commit", 1 / TIMES, ratio(ours, base).median)
    for kind in HALVED:
        base, ours = ([statistics.median(turn[kind]) for turn in side] for side in sides)
        name = f"{kind}, processor, to the other commit"
        yield Bar(name, 1 / 2, ratio(ours, base).median)


def _each(turn: Spent) -> float:
    return statistics.mean(seconds for found in turn.values() for seconds in found)


def _load_bars(sides: Sequence[Sequence[Sequence[Read]]], seconds: float) -> list[Bar]:
    if len(sides) < 2:
        return []
    base, ours = sides
    rates = [[_rate(turn, seconds) for turn in side] for side in (ours, base)]
    late = [[percentile([o.seconds for o in turn], 95) for turn in side] for side in (ours, base)]
    return [
        Bar("pages per second, times as many", TIMES, ratio(*rates).median, at_least=True),
        Bar("95 of 100 pages, to the other commit", 1 / TIMES, ratio(*late).median),
    ]


def _own_lines(who: str, sizes: dict[str, int], memory: dict[str, float]) -> list[Line]:
    listed = ", ".join(f"{name} {count / 1000:.0f} kB" for name, count in sizes.items())
    whole = ", ".join(f"{name} {found:.0f}" for name, found in memory.items())
    return [
        Line(who, "HTML of lists", note=listed),
        Line(who, "the workers' processes", memory=sum(memory.values()), note=f"{whole} MB"),
    ]


def _own_bars(sizes: dict[str, int], memory: dict[str, float], cpu: Sequence[float]) -> list[Bar]:
    largest = max(sizes, key=lambda name: sizes[name])
    return [
        Bar("HTML of the largest list", MOST_BYTES, sizes[largest], "bytes", note=largest),
        Bar("a poll of the first page, together, processor", MOST_CPU, statistics.median(cpu), "s"),
        Bar("the largest process of the workers", MOST_PSS, max(memory.values()), "MB"),
    ]
