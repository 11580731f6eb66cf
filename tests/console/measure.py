"""What a page costs RAINBO's own database: queries, and rows or index entries that they touched."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

# Counters of this session: what a sequential scan counts as its rows, an index as its entries.
# What helpers of a parallel query read is not in them: there are none.
_READ = """
    SELECT c.relname, pg_stat_get_xact_tuples_returned(c.oid),
           CASE WHEN c.relkind = 'r' THEN c.reltuples END
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i')"""
BIG = (
    "activity",
    "instance_checks",
    "syncs_runlog",
    "syncs_runtarget",
    "syncs_syncrun",
    "tenant_changes",
    "tenant_daily_counts",
    "tenant_master",
    "user_route_removals",
    "user_routes_all",
)


@dataclass
class Cost:
    queries: int = 0
    reads: dict[str, int] = field(default_factory=dict)
    scanned: list[str] = field(default_factory=list)  # big tables that were read whole
    milliseconds: float = 0.0
    statements: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.reads.values())

    @property
    def most(self) -> str:
        """What was read most."""
        ranked = sorted(self.reads.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {count:,}" for name, count in ranked[:3])


@contextmanager
def measured() -> Iterator[Cost]:
    """Of all that is asked inside, which is undone."""
    cost = Cost()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        before = _counters()
        with CaptureQueriesContext(connection) as asked:
            begin = time.perf_counter()
            yield cost
            cost.milliseconds = (time.perf_counter() - begin) * 1000
        after = _counters()
        transaction.set_rollback(True)
    cost.statements = [query["sql"] for query in asked.captured_queries]
    cost.queries = len(asked)
    for name, (rows, size) in after.items():
        if rows > before[name][0]:
            cost.reads[name] = rows - before[name][0]
        if name in BIG and cost.reads.get(name, 0) >= (size or 1):
            cost.scanned.append(name)


def _counters() -> dict[str, tuple[int, float | None]]:
    """Of each table and index: rows or entries read; of a table, how many it has."""
    with connection.cursor() as cursor:
        cursor.execute(_READ)
        return {name: (rows, size) for name, rows, size in cursor.fetchall()}
