"""A reader that lives through syncs: its slowest look-ups, with and without each kind of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from bench.measurements import baseline, lookup_reader
from bench.measurements.lookup_reader import Look
from bench.measurements.scenario import Scenario
from bench.report.results import Bar, Line
from bench.testbed.directory import Directory
from bench.testbed.servers import Testbed

QUIET = 2.0  # seconds without a sync before each
ROUNDS = 3
# Of syncs in each scenario, so that its slowest hundredth is not one look-up by chance.
SECONDS, MOST_ROUNDS = 4.0, 15

Span = tuple[float, float]


class Synced(Protocol):
    testbed: Testbed
    directory: Directory

    def sync(self, *, in_full: bool, by_digests: bool) -> dict[str, Any]: ...


def measure(
    routes: Synced, scenarios: Sequence[Scenario], repeats: int
) -> tuple[list[Line], list[Bar]]:
    calm: list[Span] = []
    copies: list[Span] = []
    busy: dict[str, list[Span]] = {scenario.what: [] for scenario in scenarios}
    with lookup_reader.reading(routes.testbed, routes.directory.rows) as reads:
        for turn in range(MOST_ROUNDS if repeats > 1 else 1):
            for scenario in scenarios:
                spans = busy[scenario.what]
                if turn >= ROUNDS and sum(end - start for start, end in spans) >= SECONDS:
                    continue
                scenario.prepare()
                started = time.monotonic()
                time.sleep(min(QUIET, routes.directory.rows / 100_000))
                calm.append((started, time.monotonic()))
                found = routes.sync(in_full=scenario.in_full, by_digests=scenario.by_digests)
                spans.append((found["started"], found["ended"]))
                copying = time.monotonic()
                baseline.copied(routes.testbed)
                copies.append((copying, time.monotonic()))
    during = {what: reads.between(spans) for what, spans in busy.items()}
    during_a = reads.between(copies)
    return _looked(during, reads.between(calm), during_a, lookup_reader.missed(reads.looks))


def _looked(
    during: dict[str, list[Look]], quiet: list[Look], during_a: list[Look], misses: int
) -> tuple[list[Line], list[Bar]]:
    def describe(looks: list[Look]) -> str:
        return f"p99 {lookup_reader.p99(looks) * 1000:.2f} ms of {len(looks):,} looks"

    lines = [
        Line("reader", "look-ups without a sync", note=describe(quiet)),
        Line("reader", "look-ups during A", note=describe(during_a)),
    ]
    lines += [
        Line("reader", f"look-ups during a sync, {what}", note=describe(looks))
        for what, looks in during.items()
    ]
    # A keeps the machine as busy as a sync does: what a look-up waits for then is no lock of ours.
    worst = max(lookup_reader.p99(looks) for looks in during.values())
    as_slow = worst / lookup_reader.p99(during_a)
    return lines, [
        Bar("p99 of a look-up during the worst of these syncs, to that during A", 1.2, as_slow),
        Bar("look-ups that found nothing or failed", 0, misses, ""),
    ]
