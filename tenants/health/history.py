"""How one instance did lately, by its health checks: counted by the database, in a fixed shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from common.clock import from_iso
from common.joint_query import Question, Row, Statement, answer
from tenants.models import RdsInstance
from tenants.models.instance import Health

SPAN = timedelta(hours=24)
BUCKET = timedelta(minutes=15)
RECENT = timedelta(days=6)  # the checks of each minute are kept a little longer
OUTAGES = 3  # outages that are listed
LAGGING_S = 60  # a replica that is as far behind is said to lag
MOST_FAILED = 100  # failed checks in a row are counted up to here, however long they go on

_WINDOW = "instance_id = %(instance)s AND minute > %(since)s AND minute <= %(until)s"
_BARS = f"""
    SELECT date_bin(%(bucket)s, minute, %(first)s) AS begin, count(*),
           count(*) FILTER (WHERE health = 'down'),
           count(*) FILTER (WHERE health = 'refused'),
           count(*) FILTER (WHERE health = 'degraded'),
           count(*) FILTER (WHERE health = 'healthy'),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms)
      FROM instance_checks WHERE {_WINDOW} GROUP BY 1 ORDER BY 1"""  # noqa: S608 (constants)
_WHOLE = f"""
    SELECT count(*), count(*) FILTER (WHERE health = 'down'),
           count(*) FILTER (WHERE health = 'refused'),
           count(*) FILTER (WHERE health = 'degraded'),
           count(*) FILTER (WHERE health = 'healthy'),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms)
      FROM instance_checks WHERE {_WINDOW}"""  # noqa: S608
# Neighbouring checks that were down make one outage; it ends with the first that was not.
_OUTAGES = f"""
    SELECT min(minute), CASE WHEN bool_and(next IS NOT NULL) THEN max(next) END,
           count(*) OVER ()
      FROM (SELECT minute, health, lead(minute) OVER (ORDER BY minute) AS next,
                   row_number() OVER (ORDER BY minute)
                   - row_number() OVER (PARTITION BY health ORDER BY minute) AS island
              FROM instance_checks WHERE {_WINDOW}) AS seen
     WHERE health = 'down' GROUP BY island ORDER BY 1 DESC LIMIT %(outages)s"""  # noqa: S608
# The first check that failed after the last answer: a row or two of the unique index each. Where
# it is no longer kept, the last answer itself is the nearest that is known. Counted are the last
# ones only.
_STREAK = """
    SELECT wanted.id, coalesce(failed.minute, answer.at) AS since,
           (SELECT count(*) FROM (
                   SELECT health FROM instance_checks
                    WHERE instance_id = wanted.id
                      AND minute >= date_trunc('minute', coalesce(answer.at, '-infinity'))
                    ORDER BY minute DESC LIMIT %(most)s) AS last
             WHERE health IN ('down', 'refused')) AS checks
      FROM unnest(%(instances)s::bigint[]) AS wanted (id)
      LEFT JOIN syncs_confirmation AS answer
        ON answer.sync = 'instance_health' AND answer.target = wanted.id::text
      LEFT JOIN LATERAL (
           SELECT minute FROM instance_checks
            WHERE instance_id = wanted.id AND minute >= date_trunc('minute', answer.at)
              AND health IN ('down', 'refused') AND answer.at > statement_timestamp() - %(recent)s
            ORDER BY minute LIMIT 1
           ) AS failed ON true"""


@dataclass(frozen=True)
class HealthCounts:
    """Checks of a time, by what they saw."""

    checks: int = 0
    down: int = 0
    refused: int = 0
    degraded: int = 0
    healthy: int = 0

    @property
    def worst(self) -> Health:
        """Unknown without any check."""
        if self.down:
            return Health.DOWN
        if self.refused:
            return Health.REFUSED
        if self.degraded:
            return Health.DEGRADED
        return Health.HEALTHY if self.healthy else Health.UNKNOWN


@dataclass(frozen=True)
class HealthBucket:
    begin: datetime
    tally: HealthCounts
    median_ms: float | None


@dataclass(frozen=True)
class Outage:
    """until: the first check that it answered again; None while it is down."""

    begin: datetime
    until: datetime | None


@dataclass(frozen=True)
class Streak:
    """Checks in a row that an instance did not answer.

    since: None if it has never answered. checks: up to 100; None if none of them is kept.
    """

    since: datetime | None
    checks: int | None


@dataclass(frozen=True)
class History:
    """The last 24 hours, to the minute; the bars are whole quarter-hours.

    outages: the latest first, of `outage_count` in all.
    """

    bars: tuple[HealthBucket, ...]
    whole: HealthCounts
    median_ms: float | None
    p95_ms: float | None
    outages: tuple[Outage, ...] = field(default=())
    outage_count: int = 0

    @property
    def unseen(self) -> int:
        """Bars without any check."""
        return sum(not bar.tally.checks for bar in self.bars)


def last_day(instance: RdsInstance, now: datetime) -> History:
    """In four queries, however many checks there are."""
    first = _floor(now - SPAN)
    window = {
        "instance": instance.pk,
        "since": now - SPAN,
        "until": now,
        "first": first,
        "bucket": BUCKET,
        "outages": OUTAGES,
    }
    found = {row[0]: row[1:] for row in _rows(_BARS, window)}
    *counts, median_ms, p95_ms = _rows(_WHOLE, window)[0]
    outages = _rows(_OUTAGES, window) if counts[1] else []
    return History(
        bars=tuple(_bar(first + n * BUCKET, found) for n in range(1 + (now - first) // BUCKET)),
        whole=HealthCounts(*counts),
        median_ms=median_ms,
        p95_ms=p95_ms,
        outages=tuple(_outage(instance, begin, until) for begin, until, _ in outages),
        outage_count=outages[0][2] if outages else 0,
    )


def ask_streaks(instances: Iterable[int]) -> Question:
    """The question about instances that are down, whose answer `streaks_in` takes."""
    wanted = {"instances": list(instances), "recent": RECENT, "most": MOST_FAILED}
    return Statement(_STREAK, wanted)


def streaks_in(rows: Iterable[Row]) -> dict[int, Streak]:
    """For how long each of these instances has been down."""
    return {row["id"]: Streak(from_iso(row["since"]), row["checks"] or None) for row in rows}


def down_since(instance: int) -> datetime | None:
    """Since when an instance is down that is down; None if it has never answered."""
    rows = answer({"streak": ask_streaks([instance])})["streak"]
    return streaks_in(rows)[instance].since


def _outage(instance: RdsInstance, begin: datetime, until: datetime | None) -> Outage:
    """One that lasts may have begun before the window, and began when every page says."""
    since = down_since(instance.pk) if until is None else None
    return Outage(since or begin, until)


def _bar(begin: datetime, found: dict[datetime, tuple[Any, ...]]) -> HealthBucket:
    *counts, median_ms = found.get(begin, (None,))
    return HealthBucket(begin, HealthCounts(*counts), median_ms)


def _floor(at: datetime) -> datetime:
    return at - timedelta(seconds=at.timestamp() % BUCKET.total_seconds())


def _rows(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
