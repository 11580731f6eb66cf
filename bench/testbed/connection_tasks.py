"""Connections of a service in RAINBO, all due at once, and what fetching them costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import psycopg
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from bench.errors import BenchError
from integrations import fetching, look
from integrations.models import Connection
from syncs.engine import runs
from syncs.models import RunState

_WRITTEN = """
    SELECT relname, (n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables"""


def connections(task: Mapping[str, Any]) -> dict[str, Any]:
    """Do the task's `do`: connect `count` accounts at `url`, or fetch them, `at_once` together."""
    if task["do"] == "connect":
        return _connect(task["url"], task["count"])
    return _fetch(task["count"], task["at_once"])


def _connect(url: str, count: int) -> dict[str, Any]:
    owner = User.objects.create_user("bench")
    known = {"owner": owner, "service": "github", "base_url": url, "update_frequency_minutes": 15}
    rows = Connection.objects.bulk_create(
        Connection(name=f"account {number}", **known) for number in range(count)
    )
    for row in rows:
        row.set_credentials({"token": "github-token"})
    Connection.objects.bulk_update(rows, ["credentials"], batch_size=500)
    return {}


def _fetch(count: int, at_once: int) -> dict[str, Any]:
    """Let so many fall due at once, look for them as workers do, and execute the run."""
    ids = list(Connection.objects.order_by("pk").values_list("pk", flat=True)[:count])
    Connection.objects.update(enabled=False)
    due = {"last_successful_update_at": timezone.now() - timedelta(hours=1), "enabled": True}
    Connection.objects.filter(pk__in=ids).update(**due)
    before = _written()
    with _counted() as statements, patch.object(fetching, "AT_ONCE", at_once):
        started, spent = time.monotonic(), time.process_time()
        (record,) = look.look()
        record = runs.execute(record)
        seconds, spent = time.monotonic() - started, time.process_time() - spent
    if record.state != RunState.SUCCEEDED or record.targets.count() != count:
        raise BenchError(f"the run of {count} ended as {record.state}: {record.error}")
    after = _written()
    written = {name: after[name] - before.get(name, 0) for name in after}
    return {
        "seconds": seconds,
        "processor": spent,
        "statements": statements(),
        "written": {name: rows for name, rows in written.items() if rows},
    }


@contextmanager
def _counted() -> Iterator[Callable[[], int]]:
    """How many statements are sent meanwhile, by whatever session; a batch is one."""
    found: list[None] = []

    def counting(usual: Callable[..., Any]) -> Callable[..., Any]:
        def execute(*given: Any, **options: Any) -> Any:
            found.append(None)
            return usual(*given, **options)

        return execute

    cursor = psycopg.Cursor
    with (
        patch.object(cursor, "execute", counting(cursor.execute)),
        patch.object(cursor, "executemany", counting(cursor.executemany)),
    ):
        yield lambda: len(found)


def _written() -> dict[str, int]:
    """Rows written so far to each table, as PostgreSQL counts them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(_WRITTEN)
        return dict(cursor.fetchall())
