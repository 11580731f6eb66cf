"""Empties RAINBO's own database after a test with transactions: what the test wrote, nothing else.

Django would truncate every table and make content types, permissions and groups again, which takes
longer than most tests. Where those are as they were, only other tables that have rows are emptied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from psycopg import sql

LIFT = "ALTER TABLE activity DISABLE TRIGGER written_once"  # which production never lifts
RESTORE = "ALTER TABLE activity ENABLE ALWAYS TRIGGER written_once"

Contents = dict[str, str]


@contextmanager
def emptied_between_tests() -> Iterator[None]:
    from django.core.management.commands import flush
    from django.db import models  # noqa: F401 (first: Django's own imports go in a circle)
    from django.db.backends.postgresql.operations import DatabaseOperations

    usual_sql, usual_flush = DatabaseOperations.sql_flush, flush.Command.handle
    made_anew: Contents = {}

    def sql_flush(self: DatabaseOperations, style: Any, tables: Any, **options: Any) -> list[str]:
        return [f"{LIFT};", *usual_sql(self, style, tables, **options), f"{RESTORE};"]

    @wraps(usual_flush)
    def handle(self: flush.Command, **options: Any) -> None:
        filled = contents()
        if made_anew and made_anew.items() <= filled.items() and not options["reset_sequences"]:
            empty(filled.keys() - made_anew.keys())
            return
        usual_flush(self, **options)
        made_anew.clear()
        made_anew.update(contents())

    with (
        patch.object(DatabaseOperations, "sql_flush", sql_flush),
        patch.object(flush.Command, "handle", handle),
    ):
        yield


def contents() -> Contents:
    """A digest of each table that has rows."""
    from django.db import connection

    one = sql.SQL(
        "SELECT {name}, md5(string_agg(kept::text, ',' ORDER BY kept::text)) FROM {table} AS kept"
    )
    tables = connection.introspection.django_table_names(only_existing=True)
    parts = [one.format(name=sql.Literal(name), table=sql.Identifier(name)) for name in tables]
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(" UNION ALL ").join(parts))
        return {name: digest for name, digest in cursor.fetchall() if digest}


def empty(tables: set[str]) -> None:
    from django.db import connection, transaction

    if not tables:
        return
    names = sql.SQL(", ").join(map(sql.Identifier, sorted(tables)))
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (LIFT, sql.SQL("TRUNCATE {} CASCADE").format(names), RESTORE):
            cursor.execute(statement)
