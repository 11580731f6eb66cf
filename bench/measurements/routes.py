"""The routing sync compared with baseline A: nothing changed, a little, more, everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.errors import BenchError
from bench.measurements import baseline, floors, lookup_latency
from bench.measurements.scenario import Scenario
from bench.progress import note
from bench.report.figures import Spread, ratio
from bench.report.results import Bar, Line, Part
from bench.testbed.directory import Directory
from bench.testbed.instances import register
from bench.testbed.process_usage import processor_seconds
from bench.testbed.proxy import proxy
from bench.testbed.servers import Testbed
from bench.testbed.write_counter import watched
from localfleet.demo.state import OWN_DATABASE
from tenants.routes import partition

OURS = "RAINBO"
MILLION = 1_000_000
TICK = 0.01  # what processors' time is counted in; see processor_seconds


@dataclass
class Taken:
    """The measurements of one scenario, each of ours with its neighbour in A.

    source: seconds that the source's processors were busy.
    """

    ours: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)
    wal: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    source: list[float] = field(default_factory=list)
    wire: int = 0

    def line(self, what: str) -> Line:
        return Line(
            OURS,
            what,
            Spread.of(self.ours),
            ratio(self.ours, self.baseline),
            self.wire,
            Spread.of(self.wal).median,
            max(self.memory),
            Spread.of(self.written).median,
            f"processors of the source: {Spread.of(self.source).median:.2f} s",
        )


class Routes:
    """Measures on a testbed whose master has a directory that RAINBO knows."""

    def __init__(self, testbed: Testbed, directory: Directory) -> None:
        self.testbed = testbed
        self.directory = directory
        self.taken: dict[str, Taken] = {}
        register(testbed, [directory.place], master=1)

    def scenarios(self) -> list[Scenario]:
        return [
            Scenario("nothing", "nothing changed", self._count, 0.35),
            Scenario("digests", "nothing changed, by digests", lambda: None, by_digests=True),
            Scenario(
                "new", "0.1 % changed, no deletes", lambda: self._change(0.001, deletes=False), 0.7
            ),
            Scenario("0.1 %", "0.1 % changed", lambda: self._change(0.001), 1.1),
            Scenario("1 %", "1 % changed", lambda: self._change(0.01), 2.2),
            Scenario(
                "full",
                "nothing changed, proofs forgotten",
                lambda: self._forget(rows=False),
                4,
            ),
            Scenario("fill", "first fill", lambda: self._forget(rows=True), 9, in_full=True),
        ]

    def sync(self, *, in_full: bool, by_digests: bool = False) -> dict[str, Any]:
        """One sync, in a process of its own; raises when it failed or went the other way."""
        env = {"RAINBO_ROUTES_DIGEST_PERIOD": "0"} if by_digests else {}
        found = self.testbed.do("sync", {"sync": "user_routing"}, **env)
        if found["state"] != "succeeded":
            raise BenchError(f"user_routing ended as {found['state']}: {found['errors']}")
        if found["in_full"] is not in_full:
            way = "in full" if found["in_full"] else "by difference"
            raise BenchError(f"the directory was read {way}, the other way was to be measured")
        return found

    def fill(self) -> None:
        note("first sync")
        self._forget(rows=True)
        self.sync(in_full=True)

    def take(self, scenarios: Sequence[Scenario], repeats: int) -> None:
        """Every scenario in every round, each after a copy of A; then once more, counted."""
        baseline.copied(self.testbed)  # warm
        for turn in range(repeats):
            for scenario in scenarios:
                self._once(scenario)
            note(f"round {turn + 1} of {repeats}: " + self._so_far(scenarios))
        with proxy(self.directory.place.port) as counting:
            register(self.testbed, [self.directory.place.through(counting.port)], master=1)
            for scenario in scenarios:
                scenario.prepare()
                counting.bytes_from_server()
                self.sync(in_full=scenario.in_full, by_digests=scenario.by_digests)
                self.taken[scenario.name].wire = counting.bytes_from_server()
        register(self.testbed, [self.directory.place], master=1)

    def _once(self, scenario: Scenario) -> None:
        taken = self.taken.setdefault(scenario.name, Taken())
        scenario.prepare()
        taken.baseline.append(baseline.copied(self.testbed))
        before = self._source_seconds()
        with watched(self.testbed.own, OWN_DATABASE, partition.NAME) as written:
            found = self.sync(in_full=scenario.in_full, by_digests=scenario.by_digests)
        taken.source.append(self._source_seconds() - before)
        taken.ours.append(found["seconds"])
        taken.memory.append(found["peak_mb"])
        taken.wal.append(written.wal)
        taken.written.append(written.rows)

    def _source_seconds(self) -> float:
        return processor_seconds(self.testbed.master.pid or 0)

    def _so_far(self, scenarios: Sequence[Scenario]) -> str:
        def last(taken: Taken) -> str:
            return f"{taken.ours[-1]:.2f} s ({taken.ours[-1] / taken.baseline[-1]:.2f} A)"

        return ", ".join(f"{s.name} {last(self.taken[s.name])}" for s in scenarios)

    def _count(self) -> None:
        """Let syncs compare digests until a count is enough for the next one."""
        for _ in range(5):
            self.directory.commit()
            if not self.sync(in_full=False)["by_digests"]:
                return
        raise BenchError("a count was not enough to see that nothing changed")

    def _change(self, share: float, *, deletes: bool = True) -> None:
        self._count()
        self.directory.change(share, deletes=deletes)

    def _forget(self, *, rows: bool) -> None:
        self.testbed.do("forget", {"id": self.directory.place.id, "rows": rows})


def measure(testbed: Testbed, rows: int, repeats: int) -> tuple[Part, Directory]:
    """The whole part. From ten million rows on, a million is measured before, to compare."""
    directory = Directory(testbed)
    smaller = MILLION if rows >= 10 * MILLION else 0
    lines: list[Line] = []
    compared: Taken | None = None
    if smaller:
        compared = _at_a_tenth(testbed, directory, smaller, repeats)
        lines.append(compared.line(f"0.1 % changed, of {smaller:,} rows"))
    note(f"a directory of {rows:,} rows")
    directory.fill(rows)
    routes = Routes(testbed, directory)
    routes.fill()
    scenarios = routes.scenarios()
    routes.take(scenarios, repeats)
    size = directory.size()
    lines = [
        _baseline(routes, size),
        *(routes.taken[s.name].line(s.what) for s in scenarios),
        *lines,
    ]
    note("what PostgreSQL alone takes")
    lines += floors.of_routes(testbed, repeats)
    note("look-ups during syncs")
    filled = [s for s in scenarios if s.name != "fill"]  # before the first fill is nothing to find
    looks, look_bars = lookup_latency.measure(routes, filled, repeats)
    bars = [*_bars(routes, scenarios, size), *look_bars, *_growth(routes, compared)]
    facts = {"rows": f"{rows:,}", "size": f"{size / 1e6:.0f} MB"}
    title = f"The routing sync, {rows:,} rows"
    return Part(f"routes-{rows:09}", title, [*lines, *looks], bars, facts), directory


def _at_a_tenth(testbed: Testbed, directory: Directory, rows: int, repeats: int) -> Taken:
    note(f"a directory of {rows:,} rows, to compare with")
    directory.fill(rows)
    routes = Routes(testbed, directory)
    routes.fill()
    (little,) = (s for s in routes.scenarios() if s.name == "0.1 %")
    routes.take([little], repeats)
    return routes.taken[little.name]


def _baseline(routes: Routes, size: int) -> Line:
    every = [seconds for taken in routes.taken.values() for seconds in taken.baseline]
    return Line("A", "psql | psql, all rows, no indexes", Spread.of(every), wire=size)


def _bars(routes: Routes, scenarios: Sequence[Scenario], size: int) -> list[Bar]:
    bars = []
    for scenario in scenarios:
        if scenario.bar is not None:
            taken = routes.taken[scenario.name]
            found = ratio(taken.ours, taken.baseline).median
            bars.append(Bar(f"{scenario.what}, to A", scenario.bar, found))
    nothing, digests = routes.taken["nothing"], routes.taken["digests"]
    memory = max(max(taken.memory) for taken in routes.taken.values())
    return [
        *bars,
        Bar(
            "bytes from the source when nothing changed", 1, 100 * nothing.wire / size, "% of data"
        ),
        Bar(
            "processors of the source when nothing changed, to the same by digests",
            1 / 3,
            Spread.of(nothing.source).median / max(Spread.of(digests.source).median, TICK),
        ),
        Bar("WAL when nothing changed", 2, Spread.of(nothing.wal).median / 1e6, "MB"),
        Bar("routes rewritten when nothing changed", 0, max(nothing.written), "rows"),
        Bar("peak memory of the process", 100, memory, "MB"),
    ]


def _growth(routes: Routes, compared: Taken | None) -> list[Bar]:
    if compared is None:
        return []
    now = routes.taken["0.1 %"]
    seconds = Spread.of(now.ours).median / Spread.of(compared.ours).median
    memory = max(now.memory) / max(compared.memory)
    return [
        Bar("0.1 % changed, ten times the rows, to the time of a tenth", 10.5, seconds),
        Bar("peak memory, ten times the rows, to that of a tenth", 1.2, memory),
    ]
