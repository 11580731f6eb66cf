"""Whether a snapshot shows tables as they are.

TRUNCATE, REFRESH MATERIALIZED VIEW and an ALTER TABLE that rewrites give a table a new file, and a
table can be replaced by another one of its name. To a snapshot that was taken before, the new file
or table looks empty (PostgreSQL's documentation, "Caveats" of concurrency control). Whoever waits
for the lock of such a change reads nothing, and no digest of the same snapshot notices.

So: once a transaction has locked its tables, none can be replaced any more, and each must be the
one that the snapshot knows. Tables without a file here (foreign tables) can't be checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from common.text import listed
from syncs.errors import SourceError
from syncs.transfer.peer import PeerConnection

KINDS = {
    **dict.fromkeys(("r", "p"), "table"),
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}
NAMED = 5  # replaced tables in one message

Origin = tuple[int, int]  # of a query's column: the table's oid, and the column's number there

# Of this session, but no catalogs: what is shared between databases is one.
_HELD = """
    pid = pg_catalog.pg_backend_pid() AND locktype = 'relation' AND relation >= 16384"""
_ANY = f"SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE {_HELD})"  # noqa: S608 (a constant)
# pg_class is read by the snapshot; the functions read what is true now.
_LOCKED = f"""
    WITH locked AS (
        SELECT DISTINCT relation AS oid FROM pg_catalog.pg_locks
         WHERE {_HELD}
    ), judged AS (
        SELECT locked.oid, now.identity, now.type, seen.relkind,
               seen.oid IS NULL AND now.type NOT IN ('index', 'sequence', 'toast table')
               OR seen.relkind IN ('r', 'm')
                  AND seen.relfilenode <> pg_catalog.pg_relation_filenode(seen.oid) AS is_replaced,
               EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = locked.oid) AS is_part
          FROM locked
         CROSS JOIN LATERAL pg_catalog.pg_identify_object(
                'pg_catalog.pg_class'::pg_catalog.regclass, locked.oid, 0) AS now
          LEFT JOIN pg_catalog.pg_class AS seen ON seen.oid = locked.oid
    )
    SELECT identity{{}} FROM judged WHERE {{}} ORDER BY 1"""  # noqa: S608 (a constant)
_REPLACED = _LOCKED.format("", "is_replaced")
# Partitions come and go; what they belong to has the name.
_READ = _LOCKED.format(
    ", coalesce(is_replaced, false), relkind::pg_catalog.text",
    "is_replaced OR relkind = ANY ('{r,p,v,m,f}') AND NOT is_part",
)
_LOCKABLE = _LOCKED.format("", "type = 'table' AND pg_catalog.has_table_privilege(oid, 'SELECT')")
_UNCHECKED = _LOCKED.format("", "relkind = 'f'")


class TablesReplaced(SourceError):
    """Tables were replaced between the snapshot and the locks: nothing of them can be trusted.

    lockable: those that the role may lock before the next snapshot, as SQL writes them.
    """

    kind = "replaced"
    transient = True

    def __init__(self, tables: list[str], lockable: list[str]) -> None:
        super().__init__(
            f"truncated or replaced while it was about to be read: {listed(tables, NAMED)}; "
            "nothing of it was used, another run reads it again"
        )
        self.lockable = lockable


def columns_checked(
    source: psycopg.Connection[Any], query: sql.Composable
) -> tuple[list[psycopg.Column], list[Origin], tuple[str, ...]]:
    """Return the columns of a query that reads no rows, their origins, and its tables.

    It takes one round trip. The origin of a computed column is (0, 0).

    The tables are those that its names mean now, also by way of views: `public.users (table)`.

    Raises TablesReplaced if the transaction's snapshot shows a table that it holds as empty. Tables
    that are read after this call must be checked by another one.
    """
    cursor = source.execute(sql.SQL("{}; {}").format(query, sql.SQL(_READ)))
    columns = list(cursor.description or ())
    answer = cursor.pgresult
    origins = [(answer.ftable(n), answer.ftablecol(n)) for n in range(len(columns)) if answer]
    cursor.nextset()
    return columns, origins, _checked(source, cursor.fetchall())


def only_row(
    source: PeerConnection, query: sql.Composable
) -> tuple[tuple[Any, ...] | None, tuple[str, ...]]:
    """Return the first row of a transaction's only query, and its tables: see `columns_checked`.

    It takes one round trip if the query names no table. `check_and_end` has nothing more to check
    unless something else is executed.
    """
    cursor = source.execute(sql.SQL("{}; {}").format(query, sql.SQL(_ANY)))
    row = cursor.fetchone()
    cursor.nextset()
    names: tuple[str, ...] = ()
    if cursor.fetchall() != [(False,)]:
        names = _checked(source, source.execute(_READ).fetchall())
    source.budget.checked = source.budget.statements
    return row, names


def ask_for_tables(source: psycopg.Connection[Any]) -> Callable[[], tuple[str, ...]]:
    """Ask for the tables that a transaction's statements have named, as `columns_checked` does."""
    cursor = source.execute(_READ)
    return lambda: _described(cursor.fetchall())


def check_and_end(source: PeerConnection) -> None:
    """Check all tables of a transaction that has read what it needs, and end it."""
    if source.budget.checked == source.budget.statements:
        source.execute("ROLLBACK")
        return
    cursor = source.execute(f"{_REPLACED}; ROLLBACK")
    if replaced := [name for (name,) in cursor.fetchall()]:
        raise TablesReplaced(replaced, [])


def unchecked(source: psycopg.Connection[Any]) -> list[str]:
    """Return the tables of this transaction that can't be checked, as SQL writes them."""
    return _names(source, _UNCHECKED)


def _checked(source: psycopg.Connection[Any], found: list[Any]) -> tuple[str, ...]:
    if replaced := [name for name, is_replaced, _ in found if is_replaced]:
        raise TablesReplaced(replaced, _names(source, _LOCKABLE))
    return _described(found)


def _described(found: list[Any]) -> tuple[str, ...]:
    return tuple(f"{name} ({KINDS[kind]})" for name, _, kind in found if kind in KINDS)


def _names(source: psycopg.Connection[Any], query: str) -> list[str]:
    return [name for (name,) in source.execute(query).fetchall()]
