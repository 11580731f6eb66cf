"""What checks saw of instances lately, for who asks what a rule would have found.

Checks that saw nothing wrong are not read, except the next one after each that did: the index of
checks with problems has the others, however many instances are well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from common.text import format_duration
from syncs.status.problems import Link, Past, Problem, Severity, Sight
from tenants.health import certificate_problems
from tenants.health.history import LAGGING_S, MOST_FAILED
from tenants.models import RdsInstance
from tenants.models.instance import UNREADABLE, Health

MOST = 20_000  # checks that are looked through, the latest
_CHECKS = """
    SELECT seen.instance_id, seen.name, seen.minute, seen.health, seen.replica_lag_s,
           seen.error, next.minute, next.health
      FROM (SELECT checks.*, instance.name
              FROM instance_checks AS checks
              JOIN rds_instances AS instance ON instance.id = checks.instance_id
             WHERE checks.health IN ('down', 'refused', 'degraded') AND instance.is_active
               AND checks.minute > %(since)s AND checks.minute <= %(until)s
             ORDER BY checks.minute DESC LIMIT %(most)s) AS seen
      LEFT JOIN LATERAL (
           SELECT minute, health FROM instance_checks
            WHERE instance_id = seen.instance_id AND minute > seen.minute
              AND minute <= %(until)s
            ORDER BY minute LIMIT 1
           ) AS next ON true
     ORDER BY seen.minute, seen.instance_id"""


class _Check(NamedTuple):
    instance: int
    name: str
    minute: datetime
    health: str
    lag: float | None
    error: str
    next_minute: datetime | None
    next_health: str | None

    @property
    def label(self) -> str:
        return RdsInstance.label_of(self.instance, self.name)


Judge = Callable[[_Check, int], Problem | None]


def down(since: datetime, until: datetime) -> Past:
    """Checks that an instance did not answer; measure: how many in a row, up to 100."""
    return _past(since, until, _down)


def refusing(since: datetime, until: datetime) -> Past:
    """Checks whose login the server rejected."""
    return _past(since, until, _refusing)


def degraded(since: datetime, until: datetime) -> Past:
    return _past(since, until, _degraded)


def lagging(since: datetime, until: datetime) -> Past:
    """Replicas that were behind by more than what makes a check call them degraded."""
    least = format_duration(timedelta(seconds=LAGGING_S))
    return _past(since, until, _lagging, f"replicas that were behind by at most {least}")


def certificates(since: datetime, until: datetime) -> Past:
    """From the dates of the certificates of now, to the day."""
    times = [until - n * timedelta(days=1) for n in range((until - since).days, -1, -1)]
    rows = RdsInstance.objects.filter(is_active=True).defer("password", "ssl_ca", "notes")
    found = [
        Sight(at, problem.key, problem)
        for instance in rows
        for at in times
        for problem in certificate_problems.of_instance(instance, at)
    ]
    remark = "certificates that were replaced since; times are to the day"
    return Past(sorted(found, key=lambda sight: sight.at), since, remark)


PAST: Mapping[str, Callable[[datetime, datetime], Past]] = {
    "instance down": down,
    "credentials refused": refusing,
    "degraded": degraded,
    "replica lag": lagging,
    certificate_problems.CAUSE: certificates,
}


def _past(since: datetime, until: datetime, judge: Judge, remark: str = "") -> Past:
    parameters: dict[str, Any] = {"since": since, "until": until, "most": MOST}
    with connection.cursor() as cursor:
        cursor.execute(_CHECKS, parameters)
        checks = [_Check(*row) for row in cursor.fetchall()]
    if len(checks) == MOST:
        since = checks[0].minute
    sights = sorted(_sights(checks, judge), key=lambda sight: sight.at)
    return Past(sights, since, remark)


def _sights(checks: list[_Check], judge: Judge) -> Iterator[Sight]:
    """What each check saw, and the next one where that is not among these."""
    streaks: dict[int, int] = {}
    for check in checks:
        is_down = check.health == Health.DOWN
        streak = min(streaks.get(check.instance, 0) + 1, MOST_FAILED) if is_down else 0
        goes_on = check.next_health == Health.DOWN
        streaks[check.instance] = streak if goes_on else 0
        problem = judge(check, streak)
        yield Sight(check.minute, _key(check, judge), problem)
        if check.next_minute and check.next_health not in (*UNREADABLE, Health.DEGRADED):
            yield Sight(check.next_minute, _key(check, judge), None)


def _key(check: _Check, judge: Judge) -> str:
    return f"instance/{check.instance}/{judge.__name__.strip('_')}"


def _down(check: _Check, streak: int) -> Problem | None:
    if check.health != Health.DOWN:
        return None
    words = f"{check.label} was down"
    return _problem(check, Severity.INSTANCE_DOWN, "instance down", words, streak)


def _refusing(check: _Check, _: int) -> Problem | None:
    if check.health != Health.REFUSED:
        return None
    words = f"{check.label} was up and refused RAINBO's credentials"
    return _problem(check, Severity.INSTANCE_DOWN, "credentials refused", words)


def _degraded(check: _Check, _: int) -> Problem | None:
    if check.health != Health.DEGRADED:
        return None
    why = f": {check.error}" if check.error else ""
    return _problem(check, Severity.DEGRADED, "degraded", f"{check.label} was degraded{why}")


def _lagging(check: _Check, _: int) -> Problem | None:
    if check.lag is None:
        return None
    behind = format_duration(timedelta(seconds=check.lag))
    words = f"{check.label} was {behind} behind its primary"
    return _problem(check, Severity.DEGRADED, "replica lag", words, check.lag)


def _problem(
    check: _Check, severity: Severity, cause: str, words: str, measure: float | None = None
) -> Problem:
    pk = str(check.instance)
    key = f"instance/{pk}/{cause}"
    return Problem(key, severity, cause, words, Link("instance", pk), (pk,), measure=measure)
