"""Months of a fleet's history, half a day at a time, and what is rolled up or deleted after each.

The rows come from SQL, the clock from here; what rolls up and deletes is that of production.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection, transaction

from syncs.engine import pruning
from tenants.models import RdsInstance, Tenant

HALF_DAY = timedelta(hours=12)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
REMOVED = 500  # routes, in half a day
_SQL = Path(__file__).with_name("history.sql")


def history(task: Mapping[str, Any]) -> dict[str, Any]:
    """Do the task's `do`: register `instances` with `tenants` each, or live through `half_day`.

    half_day: which one since the first. Answers the seconds that rolling up and deleting took, and
    how many rows of each kind went.
    """
    if task["do"] == "register":
        _register(task["instances"], task["tenants"])
        return {}
    until = FIRST + task["half_day"] * HALF_DAY
    with transaction.atomic():
        connection.ensure_connection()
        cursor = psycopg.ClientCursor(connection.connection)
        given = {"until": until, "instances": task["instances"], "removed": REMOVED}
        cursor.execute(_SQL.read_bytes(), given)
    started = time.monotonic()
    days, is_midnight = settings.RAINBO_RUN_RETENTION_DAYS, until.hour == 0
    done = pruning.prune(until, days, only_hourly=not is_midnight)
    seconds = time.monotonic() - started
    if is_midnight:
        pruning.rebuild_indexes_by_itself()
    return {"seconds": seconds, "gone": {kind.what: kind.count for kind in done if kind.count}}


def _register(instances: int, tenants: int) -> None:
    rows = [
        RdsInstance(id=n, name=f"eu-central-{n:03}", host=f"rds{n}.example.com")
        for n in range(1, instances + 1)
    ]
    for row in rows:
        row.set_password("not used")
    RdsInstance.objects.bulk_create(rows)
    known = [
        Tenant(instance=row, remote_id=str(n), name=f"Tenant {n}", cache_refreshed_at=FIRST)
        for row in rows
        for n in range(tenants)
    ]
    Tenant.objects.bulk_create(known, batch_size=5_000)
