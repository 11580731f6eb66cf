"""Lost runs: their process died, hung or lost RAINBO's database. Found by their lease."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

from django.conf import settings
from django.db import connection, connections, transaction
from django.db.models.functions import Now

from common.errors import UsageError
from syncs import hooks
from syncs.engine import events, lease, parts, registry, retries
from syncs.engine.cancel_requests import request_of
from syncs.models import RunState, RunTarget, SyncRun, TargetState

logger = logging.getLogger("rainbo.run")

SESSIONS_TIMEOUT = 10.0  # seconds that an ending process waits for sessions to be ended

_ending: list[threading.Thread] = []

_DEAD = f"""
    SELECT run.id FROM syncs_syncrun AS run
      LEFT JOIN syncs_lease AS lease ON lease.sync = run.sync AND lease.run_id = run.id
     WHERE run.state = 'running' AND run.sync = coalesce(%(sync)s, run.sync)
       AND (coalesce(NOT {lease.LIVE}, true) OR {lease.SILENT})"""  # noqa: S608 (constants)


def close_lost_runs(sync: str | None = None, *, taker: SyncRun | None = None) -> list[SyncRun]:
    """Close runs that lost their lease, plan retries and end their sessions on instances.

    taker: the run that takes over. A run that still publishes is left alone.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DEAD, {"sync": sync, "renewal": settings.RAINBO_LEASE_RENEWAL})
        found = [pk for (pk,) in cursor.fetchall()]
    closed = [record for pk in found if (record := _close_lost(pk, taker))]
    for record in closed:
        events.log(record)
        _ending.append(threading.Thread(target=_end_sessions, args=(record,), daemon=True))
        _ending[-1].start()
    return closed


def wait_for_sessions() -> None:
    """Wait for the threads that end sessions: they would end with this process."""
    until = time.monotonic() + SESSIONS_TIMEOUT
    while _ending:
        _ending.pop().join(max(0.0, until - time.monotonic()))


def plan_retries(sync: str) -> None:
    """Plan the retries of runs that a takeover itself has just marked as lost."""
    lately = Now() - timedelta(seconds=settings.RAINBO_LEASE_TTL)
    for record in SyncRun.objects.filter(sync=sync, state=RunState.LOST, finished_at__gt=lately):
        retries.plan_next_attempt(record, transient=True)


def _close_lost(pk: int, taker: SyncRun | None) -> SyncRun | None:
    with transaction.atomic():
        record = SyncRun.objects.get(pk=pk)
        if not lease.revoke(record.sync, pk, expired=True):
            return None
        state, why = _final_state(record, taker)
        is_closed = record.move(state, expect=(RunState.RUNNING,), error=why, finished_at=Now())
        if is_closed:
            parts.store_waiting(record)
            retries.plan_next_attempt(record, transient=True)
            hooks.run_closed.send(record)
    return record if is_closed else None


def _final_state(record: SyncRun, taker: SyncRun | None) -> tuple[RunState, str]:
    if (requested := request_of(record.pk)) is not None:
        return RunState.CANCELLED, f"{requested}; its process no longer answered"
    if taker is not None:
        return RunState.LOST, f"its lease ran out; run {taker.pk} took over"
    return RunState.LOST, "its lease ran out: its process died, stopped or lost RAINBO's database"


def _end_sessions(record: SyncRun) -> None:
    """End a lost run's sessions; a server that doesn't answer ends them by its own time limits."""
    try:
        sync = registry.get(record.sync)
        waiting = RunTarget.objects.filter(run=record, state=TargetState.WAITING)
        targets = list(waiting.values_list("target", flat=True))
        if sync.end_sessions is not None and targets:
            sync.end_sessions(record.purpose, targets)
    except UsageError:
        return  # a sync that the code no longer knows
    except Exception:  # the thread's boundary: nothing waits for it
        logger.warning("could not end the sessions of run %s", record.pk, exc_info=True)
    finally:
        connections.close_all()
