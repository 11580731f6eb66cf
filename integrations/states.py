"""The state of stored connections: their rows and runs, judged by `integrations.due`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connection as database

from integrations import due, plugin
from integrations.due import Facts, Judgement
from integrations.models import Connection
from syncs.engine import lease

# Queued, or running with a lease that has not run out. A command's run that was never begun isn't.
LIVE_RUNS = f"""
    SELECT run.id FROM syncs_syncrun AS run
      LEFT JOIN syncs_lease AS lease ON lease.sync = run.sync AND lease.run_id = run.id
     WHERE (run.state = 'queued' OR run.state = 'running' AND {lease.LIVE})"""  # noqa: S608
_LIVE = f"{LIVE_RUNS} AND run.id = ANY (%s)"


def judge(rows: Iterable[Connection], now: datetime) -> dict[int, Judgement]:
    """Return the state of each, by its id, in one query."""
    found = list(rows)
    live = live_runs({row.run_id for row in found if row.run_id is not None})
    return {row.pk: due.judge(facts_of(row, row.run_id in live), now) for row in found}


def facts_of(row: Connection, is_run_live: bool) -> Facts:
    service = plugin.all_plugins().get(row.service)
    return Facts(
        frequency=row.frequency,
        enabled=row.enabled,
        owner_active=row.owner.is_active,
        paused_until=row.paused_until,
        pause_reason=row.pause_reason,
        reconnect_since=row.reconnect_since,
        last_triggered_at=row.last_triggered_at,
        last_successful_update_at=row.last_successful_update_at,
        is_run_live=is_run_live,
        is_held=bool(row.last_error) and not row.attempt,
        is_told_to_wait=not row.last_error,
        attempt=row.attempt,
        is_automatic=service is None or service.is_automatic(),
        not_before=row.not_before,
    )


def live_runs(ids: Iterable[int]) -> set[int]:
    """Return those of these runs that are open and whose process is alive, as far as is known."""
    if not (wanted := sorted(ids)):
        return set()
    with database.cursor() as cursor:
        cursor.execute(_LIVE, [wanted])
        return {pk for (pk,) in cursor.fetchall()}
