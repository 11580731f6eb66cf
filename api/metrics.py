"""`/metrics`: what the pages show, for Prometheus.

The facts are those of the pages, read when they are asked for: no process counts anything, so that
several web servers answer alike. What is unknown is left out; it is never 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import exposition
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics

from api import problems
from api.auth import authorize
from api.problems import Problem
from syncs.engine import registry
from syncs.status import queries, statistics, sync_problems
from syncs.status.freshness import Cause
from syncs.status.problems import Severity
from syncs.status.queries import SyncStatus, TargetStatus
from syncs.status.statistics import Statistics, Window
from syncs.status.sync_problems import SyncFacts
from tenants.fleet import targets
from tenants.ghosts import problems as ghosts
from tenants.models import RdsInstance

SCOPE = "metrics:read"
HOURS = 24  # of the statistics
OPENMETRICS = re.compile(r"application/openmetrics-text\s*(?:;.*)?", re.IGNORECASE)
OF_TARGET = ("sync", "rds", "name")
OF_INSTANCE = ("rds", "name")

Samples = Iterable[tuple[tuple[str, ...], float | None]]


@dataclass(frozen=True)
class Facts:
    """All that is shown.

    instances: the active ones. leavers: ghost users of people who left that can or may still enter.
    missing: ghost users that admins should have.
    """

    now: datetime
    syncs: SyncFacts
    statistics: tuple[Statistics, ...]
    instances: tuple[RdsInstance, ...]
    leavers: int
    missing: int


@csrf_exempt
@require_safe
def view(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format, or in OpenMetrics where `Accept` names it."""
    try:
        authorize(request, SCOPE)
    except Problem as problem:
        return problems.response(request, problem)
    accepted = map(str.strip, request.headers.get("Accept", "").split(","))
    is_open = any(map(OPENMETRICS.fullmatch, accepted))
    form = openmetrics if is_open else exposition
    end = "# EOF\n" if is_open else ""
    return HttpResponse(written(families(read())) + end, content_type=form.CONTENT_TYPE_LATEST)


def read() -> Facts:
    """Read everything in a fixed number of queries; freshness as of a second ago at most."""
    names = [sync.name for sync in registry.all_syncs()]
    with targets.read_once() as instances:
        status = queries.shared_status()
    now = status.now
    syncs = sync_problems.facts_of(status, queries.worker_state())
    found = statistics.statistics(names, Window.of(HOURS, now))
    leavers, missing = ghosts.count(now)
    return Facts(now, syncs, tuple(found.values()), tuple(instances), leavers, missing)


def families(facts: Facts) -> Iterator[GaugeMetricFamily]:
    yield from _freshness(facts)
    yield from _executions(facts)
    yield from _work(facts)
    yield from _fleet(facts)


def written(found: Iterable[GaugeMetricFamily]) -> str:
    """Return gauges as both formats write them.

    The library's own writer looks at each label of each sample again: four times as long.
    """
    lines = []
    for family in found:
        lines += [f"# HELP {family.name} {family.documentation}", f"# TYPE {family.name} gauge"]
        for sample in family.samples:
            labels = ",".join(f'{name}="{_escaped(text)}"' for name, text in sample.labels.items())
            lines.append(f"{family.name}{f'{{{labels}}}' if labels else ''} {sample.value!r}")
    return "\n".join([*lines, ""])


@lru_cache(maxsize=4096)
def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def gauge(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> GaugeMetricFamily:
    """Return a family of samples; those whose value is None are left out.

    Raises ValueError where a sample has not one value for each label: the library would leave out
    labels without a word.
    """
    family = GaugeMetricFamily(f"rainbo_{name}", text, labels=labels)
    for values, value in samples:
        if len(values) != len(labels):
            raise ValueError(f"{name} has the labels {labels}, not {values}")
        if value is not None:
            family.add_metric(values, value)
    return family


def _freshness(facts: Facts) -> Iterator[GaugeMetricFamily]:
    syncs = facts.syncs.status.syncs
    names = {str(instance.pk): instance.name for instance in facts.instances}
    every = [
        (target, (sync.name, target.key, names.get(target.key, "")))
        for sync in syncs
        for target in sync.targets
    ]
    yield gauge(
        "freshness_age_seconds",
        "Age of the last confirmation of an instance by a sync.",
        OF_TARGET,
        ((labels, _seconds(target.freshness.age)) for target, labels in every),
    )
    yield gauge(
        "freshness_state",
        "1 with the state as a label: on_time, late, stale or unknown.",
        (*OF_TARGET, "state"),
        (((*labels, str(target.freshness.state)), 1) for target, labels in every),
    )
    yield gauge(
        "confirmed_rows",
        "Rows of all sources as last confirmed; absent while one was never confirmed.",
        ("sync",),
        (((sync.name,), _rows(sync)) for sync in syncs),
    )
    yield gauge(
        "sync_state",
        "1 with the worst state of a sync's instances as a label.",
        ("sync", "state"),
        (((sync.name, str(sync.state)), 1) for sync in syncs),
    )
    yield gauge(
        "held_instances",
        "Instances whose changes are held for review.",
        ("sync",),
        (((sync.name,), len(_held(sync))) for sync in syncs),
    )
    yield gauge(
        "held_changes",
        "Removals and moves that are held for review.",
        ("sync",),
        (
            ((sync.name,), sum(target.reason.weight for target in _held(sync) if target.reason))
            for sync in syncs
        ),
    )


def _rows(sync: SyncStatus) -> int | None:
    counts = [target.rows for target in sync.targets if target.rows is not None]
    return sum(counts) if counts and len(counts) == len(sync.targets) else None


def _held(sync: SyncStatus) -> list[TargetStatus]:
    return [t for t in sync.targets if t.reason is not None and t.reason.cause is Cause.HELD]


def _executions(facts: Facts) -> Iterator[GaugeMetricFamily]:
    window = f"of the last {HOURS} hours"
    found = facts.statistics
    yield gauge(
        "executions",
        f"Executions {window} by outcome; lost ones count as failed.",
        ("sync", "outcome"),
        (
            ((kept.sync, outcome), count)
            for kept in found
            for outcome, count in (
                ("succeeded", kept.successes),
                ("partial", kept.partial),
                ("held", kept.held),
                ("failed", kept.failures),
            )
        ),
    )
    yield gauge(
        "failures_in_a_row",
        f"Failed executions since one that did not fail, up to {statistics.STREAK}.",
        ("sync",),
        (((kept.sync,), kept.failures_in_a_row) for kept in found),
    )
    yield gauge(
        "execution_seconds",
        f"Durations {window}: the average, and what 95 % of them did not exceed.",
        ("sync", "statistic"),
        (
            ((kept.sync, statistic), seconds)
            for kept in found
            for statistic, seconds in (
                ("average", kept.average_seconds),
                ("p95", kept.p95_seconds),
            )
        ),
    )
    yield gauge(
        "last_execution_timestamp_seconds",
        "When the last execution ended, whatever its outcome.",
        ("sync",),
        (((kept.sync,), kept.last_at.timestamp()) for kept in found if kept.last_at),
    )


def _work(facts: Facts) -> Iterator[GaugeMetricFamily]:
    status, worker = facts.syncs.status, facts.syncs.worker
    yield gauge(
        "lease_holder_age_seconds",
        "How long the run that is in progress has been running; live: it holds its lease.",
        ("sync", "live"),
        (
            (
                (sync.name, str(sync.running.is_live).lower()),
                _seconds(facts.now - sync.running.started_at),
            )
            for sync in status.syncs
            if sync.running
        ),
    )
    yield gauge(
        "queued_runs",
        "Runs that wait for a worker or for their time.",
        ("sync",),
        (((sync.name,), worker.queued.get(sync.name, 0)) for sync in status.syncs),
    )
    yield gauge(
        "queue_oldest_age_seconds",
        "How long ago the oldest queued item was due.",
        (),
        [((), _age(worker.waiting_since, facts.now))],
    )
    yield gauge(
        "worker_heartbeat_age_seconds",
        "Age of the last heartbeat of any worker or of schedule_run.",
        (),
        [((), _age(status.heartbeat, facts.now))],
    )
    dead = [p for p in sync_problems.judge(facts.syncs, ()) if p.severity is Severity.WORKERS_DEAD]
    yield gauge(
        "workers_healthy",
        "0 if no worker does what is due, as the first page says; otherwise 1.",
        (),
        [((), 0 if dead else 1)],
    )


def _fleet(facts: Facts) -> Iterator[GaugeMetricFamily]:
    every = [(instance, (str(instance.pk), instance.name)) for instance in facts.instances]
    yield gauge(
        "instance_health",
        "1 with the health of an active instance as a label: healthy, degraded, down or unknown.",
        (*OF_INSTANCE, "health"),
        (((*labels, instance.health), 1) for instance, labels in every),
    )
    yield gauge(
        "instance_check_age_seconds",
        "Age of the last health check.",
        OF_INSTANCE,
        ((labels, _age(instance.last_check_at, facts.now)) for instance, labels in every),
    )
    yield gauge(
        "instance_latency_seconds",
        "Latency of an instance that answered its last check.",
        OF_INSTANCE,
        (
            (labels, None if instance.latency_ms is None else instance.latency_ms / 1000)
            for instance, labels in every
            if not instance.is_down
        ),
    )
    yield gauge(
        "instance_replica_lag_seconds",
        "How old a replica's data was at its last check.",
        OF_INSTANCE,
        ((labels, i.replica_lag_s) for i, labels in every if not i.is_down),
    )
    yield gauge(
        "ghost_users_not_retired",
        "Ghost users of people who left that can or may still enter.",
        (),
        [((), facts.leavers)],
    )
    yield gauge(
        "ghost_users_missing",
        "Ghost users that admins should have and that could not be made.",
        (),
        [((), facts.missing)],
    )


def _age(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else _seconds(max(now - at, timedelta()))


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 3)
