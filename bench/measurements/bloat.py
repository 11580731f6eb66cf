"""How large the table of routes grows over a thousand syncs of a little churn each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.progress import note
from bench.report.figures import Spread
from bench.report.results import Bar, Line, Part
from bench.testbed.directory import Directory
from bench.testbed.instances import register
from bench.testbed.servers import Testbed
from tenants.routes import partition

CHURN = 0.001
TABLE = partition.NAME
SIZES = """
    SELECT relname, pg_relation_size(oid) FROM pg_class
     WHERE oid = %(table)s::regclass
        OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(table)s::regclass)
     ORDER BY relname"""
VACUUMED = """
    SELECT autovacuum_count, n_tup_hot_upd, n_tup_upd
      FROM pg_stat_user_tables WHERE relname = %s"""
OPTIONS = """
    SELECT coalesce(array_to_string(reloptions, ', '), 'defaults')
      FROM pg_class WHERE oid = %s::regclass"""
TOLD_EVERY = 100
# Production waits minutes between two syncs, and a minute between two looks of autovacuum; here a
# sync follows at once, so that autovacuum looks more often too (still less often than once a sync).
NAPTIME = "1s"

Sync = Callable[[], float]


@dataclass(frozen=True)
class Sizes:
    of: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.of.values())

    @classmethod
    def now(cls, testbed: Testbed) -> Sizes:
        with testbed.own_session() as session:
            return cls(dict(session.execute(SIZES, {"table": TABLE}).fetchall()))


def measure(testbed: Testbed, rows: int, syncs: int, settings: str = "") -> Part:
    """Against the same table filled once. The last syncs' sizes count, not those after a rest.

    settings: of the table, to try others than RAINBO's; its first routes come row by row then.
    """
    if settings:
        with testbed.own_session() as own:
            partition.ensure(own)
            own.execute(f"ALTER TABLE {TABLE} SET ({settings})".encode())
    with testbed.doing("sync") as child:
        return _measured(testbed, lambda: _synced(child), rows, syncs)


def _measured(testbed: Testbed, sync: Sync, rows: int, syncs: int) -> Part:
    directory = Directory(testbed)
    directory.fill(rows)
    register(testbed, [directory.place], master=1)
    sync()
    fresh = Sizes.now(testbed)
    note(f"{rows:,} routes, fresh: {fresh.total / 1e6:.1f} MB")
    started, most, seconds = time.monotonic(), fresh, []
    for number in range(1, syncs + 1):
        directory.change(CHURN)
        seconds.append(sync())
        if number % TOLD_EVERY == 0 or number == syncs:
            sizes = Sizes.now(testbed)
            most = max(most, sizes, key=lambda found: found.total)
            note(f"after {number}: {sizes.total / 1e6:.1f} MB, {sizes.total / fresh.total:.2f} ×")
    took = time.monotonic() - started
    return _part(testbed, fresh, Sizes.now(testbed), most, seconds, took, rows)


def _synced(child: Callable[[dict[str, str]], dict[str, Any]]) -> float:
    found = child({"sync": "user_routing"})
    if found["state"] != "succeeded":
        raise BenchError(f"user_routing ended as {found['state']}: {found['errors']}")
    return float(found["seconds"])


def _part(
    testbed: Testbed,
    fresh: Sizes,
    after: Sizes,
    most: Sizes,
    seconds: list[float],
    took: float,
    rows: int,
) -> Part:
    lines = [
        Line(
            "RAINBO",
            f"{name}: fresh {fresh.of[name] / 1e6:.1f} MB, after {after.of[name] / 1e6:.1f} MB",
            note=f"{after.of[name] / fresh.of[name]:.2f} × fresh",
        )
        for name in fresh.of
    ]
    lines.append(Line("RAINBO", "one sync", Spread.of(seconds)))
    with testbed.own_session() as session:
        vacuums, hot, updates = session.execute(VACUUMED, [TABLE]).fetchone() or (0, 0, 0)
        (options,) = session.execute(OPTIONS, [TABLE]).fetchone() or ("",)
    facts = {
        "rows": f"{rows:,}",
        "syncs": f"{len(seconds):,} at {CHURN:.1%} churn, {took / 60:.0f} minutes",
        "autovacuum": f"{vacuums} times; {hot:,} of {updates:,} updates within their page",
        "autovacuum_naptime": NAPTIME,
        "settings of the table": options,
    }
    words = f"table and indexes after {len(seconds):,} syncs, to fresh"
    bars = [
        Bar(words, 1.5, after.total / fresh.total),
        Bar("the same at its largest", 1.5, most.total / fresh.total),
    ]
    return Part("bloat", "Size after many syncs", lines, bars, facts)
