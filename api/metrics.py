"""`/metrics`: what the pages show, for Prometheus.

The facts are those of the pages, read when they are asked for: no process counts anything, so that
several web servers answer alike. What is unknown is left out; it is never 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from alerts import queries as incidents
from alerts.models import Level
from alerts.queries import Figures
from alerts.rules import RULES
from api import problems
from api.auth import authorize
from api.problems import Problem
from common.clock import from_iso
from common.joint_query import Question, Row, answer, compiled
from common.version import version
from syncs.engine import registry
from syncs.status import queries, statistics, sync_problems
from syncs.status.freshness import Failure
from syncs.status.queries import SyncStatus
from syncs.status.statistics import Statistics, Window
from syncs.status.sync_problems import SyncFacts
from tenants.ghosts import problems as ghosts
from tenants.models import RdsInstance
from tenants.models.instance import UNREADABLE

SCOPE = "metrics:read"
HOURS = 24  # of the statistics
OPENMETRICS = re.compile(r"application/openmetrics-text\s*(?:;.*)?", re.IGNORECASE)
OF_TARGET = ("sync", "rds", "name")
OF_INSTANCE = ("rds", "name")
READ = ("id", "name", "health", "last_check_at", "latency_ms", "replica_lag_s")

PLAIN_TYPE = "text/plain; version=1.0.0; charset=utf-8"
OPEN_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Samples = Iterable[tuple[tuple[str, ...], float | None]]
Lines = Iterator[str]


class Instance(NamedTuple):
    """An active instance."""

    pk: str
    name: str
    health: str
    last_check_at: datetime | None
    latency_ms: float | None
    replica_lag_s: float | None

    @classmethod
    def of(cls, row: Row) -> Instance:
        """Row: what READ names. One that is down has no latency, whatever it had before."""
        pk, name, health, at, *measured = (row[field] for field in READ)
        seen = (None, None) if health in UNREADABLE else measured
        return cls(str(pk), name, health, from_iso(at), *seen)


@dataclass(frozen=True)
class Facts:
    """All that is shown.

    instances: the active ones. leavers: ghost users of people who left that can or may still enter.
    missing: ghost users that admins should have. alerts: incidents and channels.
    """

    now: datetime
    syncs: SyncFacts
    statistics: tuple[Statistics, ...]
    instances: tuple[Instance, ...]
    leavers: int
    missing: int
    alerts: Figures


@require_safe
def view(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format, or in OpenMetrics where `Accept` names it."""
    try:
        authorize(request, SCOPE)
    except Problem as problem:
        return problems.response(request, problem)
    accepted = map(str.strip, request.headers.get("Accept", "").split(","))
    is_open = any(map(OPENMETRICS.fullmatch, accepted))
    text = "".join(line + "\n" for line in lines(read()))
    if is_open:
        return HttpResponse(text + "# EOF\n", content_type=OPEN_TYPE)
    return HttpResponse(text, content_type=PLAIN_TYPE)


def read() -> Facts:
    """Read everything in a fixed number of queries; freshness as of a second ago at most."""
    names = [sync.name for sync in registry.all_syncs()]
    status = queries.shared_status()
    now = status.now
    syncs = sync_problems.facts_of(status)
    answers = answer(
        {
            "statistics": statistics.ask(names, Window.of(HOURS, now)),
            "instances": _ask_instances(),
            "ghosts": ghosts.ask_counts(now),
            **incidents.ask_figures(),
        }
    )
    found = statistics.statistics_in(answers["statistics"])
    instances = tuple(Instance.of(row) for row in answers["instances"])
    leavers, missing = ghosts.counts_in(answers["ghosts"])
    alerts = incidents.figures_in(answers)
    return Facts(now, syncs, tuple(found.values()), instances, leavers, missing, alerts)


@cache
def _ask_instances() -> Question:
    return compiled(RdsInstance.objects.filter(is_active=True).order_by("pk").values(*READ))


def lines(facts: Facts) -> Lines:
    """Yield gauges as both formats write them: they differ in how they end, alone."""
    yield from gauge("build_info", "Version of RAINBO.", ("version",), [((version(),), 1)])
    yield from _freshness(facts)
    yield from _executions(facts)
    yield from _work(facts)
    yield from _fleet(facts)
    yield from _alerts(facts)


def gauge(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Lines:
    """Yield the lines of a gauge; samples whose value is None are left out.

    Raises ValueError where a sample has not one value for each label.
    """
    yield f"# HELP rainbo_{name} {text}"
    yield f"# TYPE rainbo_{name} gauge"
    for values, value in samples:
        if len(values) != len(labels):
            raise ValueError(f"{name} has the labels {labels}, not {values}")
        if value is not None:
            yield f"rainbo_{name}{_labelled(labels, values)} {float(value)!r}"


@lru_cache(maxsize=8192)
def _labelled(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """The labels of a sample: the same at each scrape, but for what changed meanwhile."""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{','.join(pairs)}}}" if names else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _freshness(facts: Facts) -> Lines:
    syncs = facts.syncs.status.syncs
    held = [(sync.name, _held(sync)) for sync in syncs]
    names = {instance.pk: instance.name for instance in facts.instances}
    every = [
        (target, (sync.name, target.key, names.get(target.key, "")))
        for sync in syncs
        for target in sync.targets
    ]
    yield from gauge(
        "freshness_age_seconds",
        "Age of the last confirmation of an instance by a sync.",
        OF_TARGET,
        ((labels, _seconds(target.freshness.age)) for target, labels in every),
    )
    yield from gauge(
        "freshness_state",
        "1 with the state as a label: on_time, late, stale or unknown.",
        (*OF_TARGET, "state"),
        (((*labels, str(target.freshness.state)), 1) for target, labels in every),
    )
    yield from gauge(
        "confirmed_rows",
        "Rows of all sources as last confirmed; absent while one was never confirmed.",
        ("sync",),
        (((sync.name,), _rows(sync)) for sync in syncs),
    )
    yield from gauge(
        "sync_state",
        "1 with the worst state of a sync's instances as a label.",
        ("sync", "state"),
        (((sync.name, str(sync.state)), 1) for sync in syncs),
    )
    yield from gauge(
        "held_instances",
        "Instances whose changes are held for review.",
        ("sync",),
        (((sync,), len(failures)) for sync, failures in held),
    )
    yield from gauge(
        "held_changes",
        "Removals and moves that are held for review.",
        ("sync",),
        (((sync,), sum(failure.weight for failure in failures)) for sync, failures in held),
    )


def _rows(sync: SyncStatus) -> int | None:
    counts = [target.rows for target in sync.targets if target.rows is not None]
    return sum(counts) if counts and len(counts) == len(sync.targets) else None


def _held(sync: SyncStatus) -> list[Failure]:
    return [held for target in sync.targets if (held := target.held)]


def _executions(facts: Facts) -> Lines:
    window = f"of the last {HOURS} hours"
    found = facts.statistics
    yield from gauge(
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
    yield from gauge(
        "failures_in_a_row",
        f"Failed executions since one that did not fail, up to {statistics.STREAK}.",
        ("sync",),
        (((kept.sync,), kept.failures_in_a_row) for kept in found),
    )
    yield from gauge(
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
    yield from gauge(
        "last_execution_timestamp_seconds",
        "When the last execution ended, whatever its outcome.",
        ("sync",),
        (((kept.sync,), kept.last_at.timestamp()) for kept in found if kept.last_at),
    )


def _work(facts: Facts) -> Lines:
    status, worker = facts.syncs.status, facts.syncs.status.worker
    yield from gauge(
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
    yield from gauge(
        "queued_runs",
        "Runs that wait for a worker or for their time.",
        ("sync",),
        (((sync.name,), worker.queued.get(sync.name, 0)) for sync in status.syncs),
    )
    yield from gauge(
        "queue_oldest_age_seconds",
        "How long ago the oldest queued item was due.",
        (),
        [((), _age(worker.waiting_since, facts.now))],
    )
    yield from gauge(
        "worker_heartbeat_age_seconds",
        "Age of the last heartbeat of any worker or of schedule_run.",
        (),
        [((), _age(status.heartbeat, facts.now))],
    )
    dead = sync_problems.dead_workers(facts.syncs)
    yield from gauge(
        "workers_healthy",
        "0 if no worker does what is due, as the first page says; otherwise 1.",
        (),
        [((), 0 if dead else 1)],
    )


def _fleet(facts: Facts) -> Lines:
    every = [(instance, (instance.pk, instance.name)) for instance in facts.instances]
    yield from gauge(
        "instance_health",
        "1 with the health of an active instance as a label: healthy, degraded, down or unknown.",
        (*OF_INSTANCE, "health"),
        (((*labels, instance.health), 1) for instance, labels in every),
    )
    yield from gauge(
        "instance_check_age_seconds",
        "Age of the last health check.",
        OF_INSTANCE,
        ((labels, _age(instance.last_check_at, facts.now)) for instance, labels in every),
    )
    yield from gauge(
        "instance_latency_seconds",
        "Latency of an instance that answered its last check.",
        OF_INSTANCE,
        (
            (labels, None if instance.latency_ms is None else instance.latency_ms / 1000)
            for instance, labels in every
        ),
    )
    yield from gauge(
        "instance_replica_lag_seconds",
        "How old a replica's data was at its last check.",
        OF_INSTANCE,
        ((labels, instance.replica_lag_s) for instance, labels in every),
    )
    yield from gauge(
        "ghost_users_not_retired",
        "Ghost users of people who left that can or may still enter.",
        (),
        [((), facts.leavers)],
    )
    yield from gauge(
        "ghost_users_missing",
        "Ghost users that admins should have and that could not be made.",
        (),
        [((), facts.missing)],
    )


def _alerts(facts: Facts) -> Lines:
    opened, channels = facts.alerts.opened, facts.alerts.channels
    yield from gauge(
        "open_incidents",
        "Open incidents by level, muted and explained ones too.",
        ("level",),
        (
            ((level.label,), sum(n for (_, of), n in opened.items() if of == level))
            for level in Level
        ),
    )
    yield from gauge(
        "open_incidents_of_rule",
        "Open incidents by rule, muted and explained ones too.",
        ("rule",),
        (
            ((rule,), sum(n for (of, _), n in opened.items() if of == rule))
            for rule in sorted({*RULES, *(rule for rule, _ in opened)})
        ),
    )
    yield from gauge(
        "alert_messages_waiting",
        "Messages to a channel that are not sent yet.",
        ("channel",),
        (((channel.name,), channel.waiting) for channel in channels),
    )
    yield from gauge(
        "alert_oldest_message_age_seconds",
        "Age of the oldest message to a channel that is not sent yet.",
        ("channel",),
        (((channel.name,), _age(channel.waiting_since, facts.now)) for channel in channels),
    )
    yield from gauge(
        "alert_channel_failing",
        "1 if the last attempt to send to a channel failed, or it is gone; otherwise 0.",
        ("channel",),
        (((channel.name,), int(channel.is_failing)) for channel in channels),
    )
    yield from gauge(
        "alert_last_delivery_timestamp_seconds",
        "When a channel last accepted a message.",
        ("channel",),
        (((c.name,), c.last_sent_at.timestamp()) for c in channels if c.last_sent_at),
    )


def _age(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else _seconds(max(now - at, timedelta()))


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else round(length.total_seconds(), 3)
