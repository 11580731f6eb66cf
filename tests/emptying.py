"""Empties RAINBO's own database after a test with transactions: what the test wrote, nothing else.

Django would truncate every table and make content types, permissions and groups again, which takes
longer than most tests. Where those are as they were, only other tables that have rows are emptied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from psycopg import sql

LIFT = "ALTER TABLE activity DISABLE TRIGGER written_once"  # which production never lifts
RESTORE = "ALTER TABLE activity ENABLE ALWAYS TRIGGER written_once"

# Deleted rows stay in the files: those of a table with few pages are no burden to the next tests.
LARGE = """
    SELECT relname FROM pg_class
     WHERE relname = ANY(%s)
       AND greatest(pg_relation_size(oid),
                    (SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(oid))) > 262144"""

Contents = dict[str, str]


@contextmanager
def emptied_between_tests() -> Iterator[None]:
    from django.core.management.commands import flush
    from django.db import models  # noqa: F401 (first: Django's own imports go in a circle)
    from django.db.backends.postgresql.creation import DatabaseCreation
    from django.db.backends.postgresql.operations import DatabaseOperations

    usual_create = DatabaseCreation.create_test_db
    usual_sql, usual_flush = DatabaseOperations.sql_flush, flush.Command.handle
    made_anew: Contents = {}

    def sql_flush(self: DatabaseOperations, style: Any, tables: Any, **options: Any) -> list[str]:
        return [f"{LIFT};", *usual_sql(self, style, tables, **options), f"{RESTORE};"]

    @wraps(usual_create)
    def create_test_db(self: DatabaseCreation, *words: Any, **options: Any) -> str:
        name = usual_create(self, *words, **options)
        store_routes()
        return name

    @wraps(usual_flush)
    def handle(self: flush.Command, **options: Any) -> None:
        store_routes()
        names = filled()
        if made_anew and not options["reset_sequences"] and contents(made_anew) == made_anew:
            empty(names - made_anew.keys())
            return
        usual_flush(self, **options)
        made_anew.clear()
        made_anew.update(contents(filled()))

    with (
        patch.object(DatabaseCreation, "create_test_db", create_test_db),
        patch.object(DatabaseOperations, "sql_flush", sql_flush),
        patch.object(flush.Command, "handle", handle),
    ):
        yield


def store_routes() -> None:
    """Have user_routes with its partition, as after a first fill, so that tests can insert rows."""
    from django.db import connection

    from tenants.routes import partition

    connection.ensure_connection()
    partition.ensure(connection.connection)


def filled() -> set[str]:
    """The tables that have rows."""
    from django.db import connection

    one = sql.SQL("SELECT {name} WHERE EXISTS (SELECT FROM {table})")
    tables = connection.introspection.django_table_names(only_existing=True)
    return {name for (name,) in _of_each(one, tables)}


def contents(tables: Iterable[str]) -> Contents:
    """A digest of each of these tables that has rows."""
    one = sql.SQL(
        "SELECT {name}, md5(string_agg(kept::text, ',' ORDER BY kept::text)) FROM {table} AS kept"
    )
    return {name: digest for name, digest in _of_each(one, tables) if digest}


def _of_each(one: sql.SQL, tables: Iterable[str]) -> list[tuple[str, ...]]:
    from django.db import connection

    parts = [one.format(name=sql.Literal(name), table=sql.Identifier(name)) for name in tables]
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(" UNION ALL ").join(parts))
        return list(cursor.fetchall())


def empty(tables: set[str]) -> None:
    """Delete the rows of small tables: new files for all their indexes take ten times as long."""
    from django.db import connection, transaction

    if not tables:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LARGE, [sorted(tables)])
        large = {name for (name,) in cursor.fetchall()}
        statements: list[sql.Composable] = []
        if large:  # first: a table with deleted rows waits for the checks of its keys
            names = sql.SQL(", ").join(map(sql.Identifier, sorted(large)))
            statements.append(sql.SQL("TRUNCATE {} CASCADE").format(names))
        statements += [
            sql.SQL("DELETE FROM {}").format(sql.Identifier(name))
            for name in sorted(tables - large)
        ]
        if "activity" in tables:
            at_once = sql.SQL("SET CONSTRAINTS ALL IMMEDIATE")
            statements = [sql.SQL(LIFT), *statements, at_once, sql.SQL(RESTORE)]
        for statement in statements:
            cursor.execute(statement)
