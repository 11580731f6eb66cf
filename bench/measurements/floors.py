"""What a part of a sync takes PostgreSQL alone: with this part, no sync can take less."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.measurements import baseline
from bench.report.figures import Spread, ratio
from bench.report.results import Line
from bench.testbed.instances import Place
from bench.testbed.servers import Testbed

WHO = "PostgreSQL alone"
THREADS = 16  # as RAINBO_FLEET_THREADS

TABLE = """
    DROP TABLE IF EXISTS bench_floor;
    CREATE TABLE bench_floor (LIKE user_routes INCLUDING ALL {excluding})"""
ROWS = "INSERT INTO bench_floor SELECT * FROM user_routes ORDER BY email_key"
INDEXES = """
    SELECT replace(replace(indexdef, indexname, 'floor_' || indexname),
                   'ON public.user_routes_all', 'ON public.bench_floor')
      FROM pg_indexes WHERE tablename = 'user_routes_all'"""


def of_routes(testbed: Testbed, repeats: int) -> list[Line]:
    """Each compared with A, of the routes as they are stored now."""
    floors: dict[str, Callable[[], float]] = {
        "the digests of the source's buckets": lambda: float(testbed.do("digests")["seconds"]),
        "all routes inserted, with their indexes": lambda: _filled(testbed, indexed_after=False),
        "all routes inserted, then indexed": lambda: _filled(testbed, indexed_after=True),
    }
    taken: dict[str, list[float]] = {what: [] for what in floors}
    copies: dict[str, list[float]] = {what: [] for what in floors}
    for _ in range(repeats):
        for what, floor in floors.items():
            copies[what].append(baseline.copied(testbed))
            taken[what].append(floor())
    return [
        Line(WHO, what, Spread.of(seconds), ratio(seconds, copies[what]))
        for what, seconds in taken.items()
    ]


def of_fleet(places: Sequence[Place], repeats: int) -> Line:
    """A session on every instance, opened and closed."""
    taken = []
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(repeats):
            started = time.monotonic()
            list(pool.map(_visit, places))
            taken.append(time.monotonic() - started)
    return Line(WHO, "a session on each, opened and closed", Spread.of(taken))


def _visit(place: Place) -> None:
    place.connect().close()


def _filled(testbed: Testbed, *, indexed_after: bool) -> float:
    """The seconds of a first fill's last step, into an empty table like user_routes."""
    excluding = "EXCLUDING INDEXES" if indexed_after else ""
    with testbed.own_session() as own:
        own.execute(TABLE.format(excluding=excluding).encode())
        indexes = [index for (index,) in own.execute(INDEXES)] if indexed_after else []
        started = time.monotonic()
        with own.transaction():
            for statement in (ROWS, *indexes):
                own.execute(statement.encode())
        seconds = time.monotonic() - started
        own.execute("DROP TABLE bench_floor")
    return seconds
