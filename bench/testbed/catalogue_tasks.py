"""A catalogue of models in RAINBO, and the same rows as Django writes them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction

from bench.errors import BenchError
from integrations import registration
from integrations.catalogues.offer import PRICES
from integrations.models import CatalogueModel, Connection
from integrations.registration import ConnectionInput
from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import RunState, Trigger

OURS, DJANGO = "ours", "django"
KEY = ("connection", "name")
COPY = "bench_cataloguemodel"


def catalogue(task: Mapping[str, Any]) -> dict[str, Any]:
    """Do the task's `do`: connect the catalogue at `url`, sync it, or write its rows by Django."""
    match task["do"]:
        case "connect":
            return _connect(task["url"])
        case "sync":
            return _sync()
        case _:
            return _bulk_create()


def _connect(url: str) -> dict[str, Any]:
    owner = User.objects.create_user("bench")
    registration.add(ConnectionInput("llm_models", "bench", owner, "", base_url=url))
    return {}


def _sync() -> dict[str, Any]:
    """Run the sync as at its due time: lease, request, reading, comparison, publish, record."""
    row = Connection.objects.get(service="llm_models")
    before = _written()
    started = time.monotonic()
    options = Options(targets=(row.key,))
    record = runs.execute(runs.request("llm_models", options, Trigger.SCHEDULE))
    seconds = time.monotonic() - started
    part = record.targets.get()
    if record.state != RunState.SUCCEEDED:
        raise BenchError(f"the catalogue's run ended as {record.state}: {part.error or part.note}")
    return {"seconds": seconds, "read": part.read, "written": _written() - before}


def _bulk_create() -> dict[str, Any]:
    """Write the rows as they are, into a table of the same columns and indexes; they are built."""
    columns = [field for field in CatalogueModel._meta.local_fields if field.name != "id"]
    fields = [field.attname for field in columns]
    rows = list(CatalogueModel.objects.all())
    _copy_table()
    built = [CatalogueModel(**{name: getattr(row, name) for name in fields}) for row in rows]
    others = [field.name for field in columns if field.name not in KEY]
    usual = CatalogueModel._meta.db_table
    CatalogueModel._meta.db_table = COPY
    try:
        started = time.monotonic()
        with transaction.atomic():
            CatalogueModel.objects.bulk_create(
                built, update_conflicts=True, unique_fields=KEY, update_fields=others
            )
        return {"seconds": time.monotonic() - started, "prices": len(PRICES)}
    finally:
        CatalogueModel._meta.db_table = usual


def _copy_table() -> None:
    """Fill it once: what is measured is the second writing, that changes nothing."""
    with connection.cursor() as cursor:
        if COPY in connection.introspection.table_names(cursor):
            return
        usual = CatalogueModel._meta.db_table
        cursor.execute(f"CREATE TABLE {COPY} (LIKE {usual} INCLUDING ALL)")
        cursor.execute(f"INSERT INTO {COPY} SELECT * FROM {usual}")  # noqa: S608
        cursor.execute(f"ANALYZE {COPY}")


def _written() -> int:
    """Rows of records and models that were written so far, as PostgreSQL counts them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables "
            "WHERE relname IN ('integrations_externalrecord', 'integrations_cataloguemodel', "
            "'integrations_pricechange')"
        )
        (count,) = cursor.fetchone()
    return int(count)
