"""The health probe of one instance, and what its values mean."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import pq, sql

from common.text import format_duration
from syncs.transfer import libpq_io, snapshot_check
from syncs.transfer.copy_stream import error_of, verbatim
from tenants.fleet.identity import Replica
from tenants.fleet.resolution import NO_TABLES, Tables
from tenants.fleet.transactions import Connection
from tenants.health.history import LAGGING_S
from tenants.models.instance import Health

ROUND_TRIPS = 3
SLOW_MS = 1000
SKEWED_MS = 5000
CROWDED = 0.9  # of its connections in use


@dataclass(frozen=True)
class ProbeResult:
    """What sync_instance_health.sql returns. connections: None if they can't be counted."""

    version: str
    clock: datetime
    connections: int | None
    max_connections: int


@dataclass(frozen=True)
class HealthProbe:
    """at: when the check began, by our clock. skew_ms: the instance's clock minus ours. tables:
    what the query's names meant there."""

    at: datetime
    latency_ms: float
    skew_ms: float
    connections: int | None
    max_connections: int
    version: str
    replica: Replica | None = None
    tables: Tables = NO_TABLES

    @property
    def warnings(self) -> list[str]:
        found: list[str] = []
        if self.replica is not None:
            found += _replica_warnings(self.replica)
        if self.latency_ms > SLOW_MS:
            found.append(f"it takes {self.latency_ms:,.0f} ms to answer")
        if abs(self.skew_ms) > SKEWED_MS:
            side = "ahead of" if self.skew_ms > 0 else "behind"
            found.append(f"its clock is {abs(self.skew_ms) / 1000:,.1f} s {side} ours")
        if self.connections is not None and self.connections > CROWDED * self.max_connections:
            found.append(f"{self.connections} of {self.max_connections} connections are in use")
        return found

    @property
    def health(self) -> Health:
        return Health.DEGRADED if self.warnings else Health.HEALTHY


def describe_replica(lag: float | None) -> str:
    """Return `replica, 12 s behind`. lag: in seconds, None if unknown."""
    if lag is None:
        return "replica, lag unknown"
    return f"replica, {format_duration(timedelta(seconds=lag))} behind"


def _replica_warnings(replica: Replica) -> Iterator[str]:
    if replica.is_paused:
        yield "its replay is paused: SELECT pg_wal_replay_resume() there"
    if replica.lag is None:
        yield "a replica that can't say how old its data is: GRANT pg_read_all_stats to the role"
    elif replica.lag > LAGGING_S:
        most = "" if replica.is_exact else "at most "
        yield f"it is {most}{format_duration(timedelta(seconds=replica.lag))} behind its primary"


def measure(source: Connection, statement: str, now: Callable[[], datetime]) -> HealthProbe:
    """Run the probe; `now` is our database's clock. Raises psycopg errors as they are.

    It is all that the transaction reads.
    """
    probe = sql.SQL(
        "SELECT version, clock, connections, max_connections FROM ({}) AS probe"
    ).format(verbatim(statement))
    trips = [_round_trip(source) for _ in range(ROUND_TRIPS)]
    before = now()
    row, names = snapshot_check.only_row(source, probe)
    after = now()
    if row is None:
        raise psycopg.DataError("the health probe returned no row")
    answer = ProbeResult(*row)
    skew = answer.clock - (before + (after - before) / 2)
    return HealthProbe(
        at=before,
        latency_ms=statistics.median(trips),
        skew_ms=skew.total_seconds() * 1000,
        connections=answer.connections,
        max_connections=answer.max_connections,
        version=answer.version[:64],
        replica=source.replica,
        tables=Tables.of(statement, names),
    )


def _round_trip(source: Connection) -> float:
    """Return milliseconds, without what psycopg adds to libpq's."""
    started = time.monotonic()
    source.pgconn.send_query(b"SELECT 1")
    while (result := libpq_io.get_result(source)) is not None:
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise error_of(result)
    return (time.monotonic() - started) * 1000
