"""Looks every 30 seconds which connections are due, and requests a run of each service's."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from common.clock import database_now
from common.text import counted
from integrations import plugin, states
from integrations.models import Connection
from integrations.state_query import PERIOD_END
from syncs import tasks
from syncs.engine import lease, runs
from syncs.engine.options import Options
from syncs.models import SyncRun, Trigger

logger = logging.getLogger("rainbo.integrations")

INTERVAL = 30  # seconds
LIMIT = "60s"
AT_MOST = 5_000  # connections of one run; the others are due at the next look

_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('rainbo.integrations', 0))"
_BUSY = f"""
    SELECT DISTINCT run.sync FROM syncs_syncrun AS run
      LEFT JOIN syncs_lease AS lease ON lease.sync = run.sync AND lease.run_id = run.id
     WHERE run.sync = ANY (%s)
       AND (run.state = 'running' AND {lease.LIVE}
            OR run.state = 'queued' AND run.trigger <> 'command')"""  # noqa: S608 (a constant)


def look() -> list[SyncRun]:
    """Request a run of each service that has due connections; return the runs.

    Connections are marked and the run is requested in one transaction, so that none is taken
    twice, and none is marked without a run. A service that is running is left alone, and only so
    many run at once; of the others, the one that has waited longest comes first. The connections
    that aren't taken stay due.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [LIMIT])
            cursor.execute(_ONE_AT_A_TIME)
        now = database_now()
        busy = busy_services()
        free = max(settings.RAINBO_INTEGRATION_SERVICES - len(busy), 0)
        waiting = _due_by_service(now, exclude=busy)
        first = sorted(waiting, key=lambda name: _waits_since(waiting[name]))
        requested = [_request(name, waiting[name]) for name in first[:free]]
    if waiting:
        count = sum(map(len, waiting.values()))
        named = ", ".join(f"run {run.pk} of {run.sync}" for run in requested) or "no run"
        logger.info("looked: %s due, requested %s", counted(count, "connection"), named)
    return requested


def take(record: SyncRun, known: Collection[int]) -> list[Connection]:
    """Mark what fell due of a running run's service, for that run to fetch; return it.

    So one that takes long keeps no other waiting. known: those that the run has had already.
    """
    others = [name for name in plugin.all_plugins() if name != record.sync]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_ONE_AT_A_TIME)
        waiting = _due_by_service(database_now(), exclude=others).get(record.sync, [])
        keys = [row.pk for row in waiting if row.pk not in known]
        taken = list(Connection.objects.select_related("owner").filter(pk__in=keys))
        _mark(taken, record)
    return taken


def busy_services() -> set[str]:
    """Return the services that have an open run, unless its process is dead."""
    with connection.cursor() as cursor:
        cursor.execute(_BUSY, [[*plugin.all_plugins()]])
        return {name for (name,) in cursor.fetchall()}


def _due_by_service(now: datetime, exclude: Iterable[str]) -> dict[str, list[Connection]]:
    """Lock what is due; its credentials and cursors are read where they are needed."""
    known = [name for name in plugin.all_plugins() if name not in set(exclude)]
    rows = _maybe_due(now).filter(service__in=known).select_related("owner").order_by("pk")
    rows = rows.defer("credentials", "cursor")
    # A person who edits one now is waited for at the next look.
    candidates = list(rows.select_for_update(of=("self",), skip_locked=True, no_key=True))
    judged = states.judge(candidates, now)
    found: dict[str, list[Connection]] = {}
    for row in candidates:
        if judged[row.pk].is_due(now):
            found.setdefault(row.service, []).append(row)
    return {name: of_service[:AT_MOST] for name, of_service in found.items()}


def _maybe_due(now: datetime) -> QuerySet[Connection]:
    """All that can be due: the others aren't locked, which writes. The rest is for `due`."""
    is_over = Q(period_end=None) | Q(period_end__lte=now) | Q(attempt__gt=0)
    waits = Q(not_before=None) | Q(not_before__lte=now)
    paused = Q(paused_until=None) | Q(paused_until__lte=now)
    return Connection.usable().alias(period_end=PERIOD_END).filter(is_over, waits, paused)


def _waits_since(rows: list[Connection]) -> datetime:
    """Return since when the first of them is due; what was never fetched, since it was made."""
    return min(
        row.created_at
        if row.last_successful_update_at is None
        else row.last_successful_update_at + row.frequency
        for row in rows
    )


def _request(service: str, rows: list[Connection]) -> SyncRun:
    options = Options(targets=tuple(row.key for row in rows))
    record = runs.request(service, options, Trigger.SCHEDULE)
    _mark(rows, record)
    tasks.enqueue(record)
    return record


def _mark(rows: Iterable[Connection], record: SyncRun) -> None:
    marked = Connection.objects.filter(pk__in=[row.pk for row in rows])
    marked.update(last_triggered_at=Now(), run=record)
