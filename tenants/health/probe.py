"""The health probe of one instance, and what its values mean."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from syncs.transfer.copy_stream import verbatim
from tenants.models.instance import Health

ROUND_TRIPS = 5
SLOW_MS = 1000
SKEWED_MS = 5000
CROWDED = 0.9  # of its connections in use


@dataclass(frozen=True)
class ProbeResult:
    """What sync_instance_health.sql returns."""

    version: str
    clock: datetime
    connections: int
    max_connections: int


@dataclass(frozen=True)
class HealthProbe:
    """at: when the check began, by our clock. skew_ms: the instance's clock minus ours."""

    at: datetime
    latency_ms: float
    skew_ms: float
    connections: int
    max_connections: int
    version: str

    @property
    def warnings(self) -> list[str]:
        found = []
        if self.latency_ms > SLOW_MS:
            found.append(f"it takes {self.latency_ms:,.0f} ms to answer")
        if abs(self.skew_ms) > SKEWED_MS:
            side = "ahead of" if self.skew_ms > 0 else "behind"
            found.append(f"its clock is {abs(self.skew_ms) / 1000:,.1f} s {side} ours")
        if self.connections > CROWDED * self.max_connections:
            found.append(f"{self.connections} of {self.max_connections} connections are in use")
        return found

    @property
    def health(self) -> Health:
        return Health.DEGRADED if self.warnings else Health.HEALTHY


def measure(
    source: psycopg.Connection[Any], statement: str, now: Callable[[], datetime]
) -> HealthProbe:
    """Run the probe; `now` is our database's clock. Raises psycopg errors as they are."""
    probe = sql.SQL(
        "SELECT version, clock, connections, max_connections FROM ({}) AS probe"
    ).format(verbatim(statement))
    trips = [_round_trip(source) for _ in range(ROUND_TRIPS)]
    with source.cursor(row_factory=class_row(ProbeResult)) as cursor:
        before = now()
        answer = cursor.execute(probe).fetchone()
        after = now()
    if answer is None:
        raise psycopg.DataError("the health probe returned no row")
    skew = answer.clock - (before + (after - before) / 2)
    return HealthProbe(
        at=before,
        latency_ms=statistics.median(trips),
        skew_ms=skew.total_seconds() * 1000,
        connections=answer.connections,
        max_connections=answer.max_connections,
        version=answer.version[:64],
    )


def _round_trip(source: psycopg.Connection[Any]) -> float:
    started = time.monotonic()
    source.execute("SELECT 1")
    return (time.monotonic() - started) * 1000
