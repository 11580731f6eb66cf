"""Registers test instances, runs syncs on them, and reads back what the caches show."""

from __future__ import annotations

from typing import Any

from django.db import connection

from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import RunTarget, SyncRun, Trigger
from tenants.models import RdsInstance, UserRoute
from tests.instances import Instance


def register(instance: Instance, **fields: Any) -> RdsInstance:
    """Register a test instance, with its limited role and the ssl mode of loopback."""
    known = {
        "id": instance.id,
        "name": f"rds{instance.id}",
        "host": instance.host,
        "port": instance.port,
        "database": instance.database,
        "user": instance.user,
        "ssl_mode": "disable",
        "is_master": instance.is_master,
    }
    password = fields.pop("password", instance.rainbo_password)
    row = RdsInstance(**known | fields)
    row.set_password(password)
    row.save(force_insert=True)
    return row


def run_sync(name: str, trigger: Trigger = Trigger.SCHEDULE, **options: Any) -> SyncRun:
    return runs.execute(runs.request(name, Options(**options), trigger, "test"))


def part(run: SyncRun, target: int | str = 1) -> RunTarget:
    return run.targets.get(target=str(target))


def counts(run: SyncRun, target: int | str = 1) -> tuple[int | None, ...]:
    """Read, added, changed, removed, withheld."""
    found = part(run, target)
    return found.read, found.added, found.changed, found.removed, found.withheld


def shown_emails() -> list[str]:
    return [row[0] for row in query("SELECT email FROM user_email_routing_cache ORDER BY email")]


def withheld() -> dict[str, str | None]:
    rows = UserRoute.objects.filter(withheld_reason__isnull=False)
    return dict(rows.values_list("source_id", "withheld_reason"))


def query(statement: str, *params: str | int | None) -> list[tuple[Any, ...]]:
    """Run it on RAINBO's own database; its rows, none when it returns none."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params or None)
        return list(cursor.fetchall()) if cursor.description else []


def versions(table: str = "user_routes") -> set[tuple[Any, ...]]:
    """Where each row's present version stands: it changes with every write of the row."""
    return set(query(f"SELECT xmin::text, ctid::text FROM {table}"))


def everything(run: SyncRun) -> str:
    """All text that a run left behind for people."""
    return "\n".join(
        [
            run.error,
            *(f"{p.note}\n{p.error}" for p in run.targets.all()),
            *(line.message for line in run.log.all()),
        ]
    )
