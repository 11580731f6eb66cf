"""Whether a table has the very rows that an earlier snapshot of it showed, without hashing them.

**Why it is so.** Let X be the xmin of the earlier snapshot S, and n the number of rows that S
showed. Every transaction below X had ended before S. A row that is seen now and was inserted by one
of them was thus inserted before S; and had it been deleted before S, it would not be seen now. So S
showed it. If all rows seen now are such rows, and there are n of them, they are those that S
showed. A row version never changes its columns: an update writes another one.

**What it rests on**, each point with the tests that fail without it, of `tests/tenants/routes/`
(`test_unchanged.py`, `test_unchanged_on_servers.py`; `test_unchanged_histories.py` looks for what
is not listed):

- X is the snapshot's *xmin*, the oldest transaction then in progress. One below its xmax may have
  committed since. A subtransaction has a higher number than its transaction, and a prepared
  transaction counts as in progress, so that X covers them:
  `test_a_transaction_in_progress_at_the_snapshot`.
- Rows carry 32 bits of a number of 64, and frozen rows keep those that they had. A row counts as
  new if it is at most as many transactions old as X, in a circle of 2^32: a frozen row may look new
  (then digests are compared), while a new one can't look old as long as X is less than half the
  circle away: `test_numbers_beyond_32_bits`, `test_frozen_rows_keep_their_number`,
  `test_too_many_transactions`.
- Numbers are not used again. A promoted replica or a restored copy may do so: it is another server
  process (its start time) or timeline, and one that went back has a lower place in its log or lower
  numbers: `test_another_start`, `test_a_promoted_replica`, `test_a_server_that_went_back`,
  `test_a_view_of_an_earlier_moment`. A crash of the server's sessions alone loses transactions that
  had committed asynchronously: so S counts only if the log was on disk as far as S saw it:
  `test_a_crash_that_loses_commits`, `test_what_is_not_on_disk_is_not_remembered`.
- It is a primary: `test_a_promoted_replica`, which asks it before.
- The rows are in the same files. VACUUM FULL, CLUSTER, TRUNCATE, a rewriting ALTER TABLE, and what
  COPY FREEZE asks for give a table another relfilenode; a table switched by a rename, or dumped and
  restored, has another oid; so has a partition that takes another's place:
  `test_other_files_of_the_table`, `test_rows_copied_as_frozen`,
  `test_a_table_switched_by_a_rename`, `test_a_partition_in_place_of_another`,
  `test_a_partition_that_comes_after_the_look`.
- The query returns a column of each row of that one table, whatever it holds: no condition, join,
  view or expression, which could read it otherwise: `test_other_queries`. What the server says of
  the columns' origin decides, not their names. Rows are those of a permanent table in a heap, or of
  partitions that are, without row security, and on this server: `test_other_tables`,
  `test_a_table_with_children`, `test_a_foreign_table_among_the_partitions`.
- Columns mean what they meant (dropped and added, renamed, exchanged, of another type: the rows of
  pg_attribute), and none is computed when it is read: `test_other_columns`, `test_virtual_columns`.
- Values read as they did: types are PostgreSQL's own, of which no value depends on a setting that
  sessions don't pin (see `common.libpq.PINNED`), which leaves out enums and domains; nobody
  replaced the functions that read them or gave them other casts: `test_other_tables`,
  `test_replaced_functions`, `test_casts`, `test_settings_of_the_role`.

The identity of the server and its database, its major version and the text of the query are facts
that stored digests rest on as well: whoever calls this has compared them.

What no condition can cover: a machine that is set back to an earlier moment *while it runs*, memory
and all, starts no process again; and extensions that write into pages (pg_surgery) leave no trace
in numbers. The digests of the next full comparison find what those did.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg import pq, sql

from common.errors import RainboError
from common.text import counted
from syncs.transfer import copy_stream
from syncs.transfer.copy_stream import Connection, Probed, Query

XID_BITS = 0xFFFFFFFF  # of a transaction's number, those that a row carries
FAR = 2**30  # transactions: a quarter of the circle of those numbers

# A plain list of columns of one table. Quoted names end in their line, so that no comment of the
# same line can hide in one.
_NAME = r'(?:[A-Za-z_][A-Za-z0-9_$]*|"[^"\n]+")'
_ITEM = rf"{_NAME}(?:\s+AS\s+{_NAME})?"
_FORM = re.compile(
    rf"\s*SELECT\s+(?:\*|{_ITEM}(?:\s*,\s*{_ITEM})*)\s+FROM\s+{_NAME}(?:\.{_NAME})?\s*",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"--[^\n]*")

# Of these, a stored value reads the same whatever is set.
_TYPES = "{int2,int4,int8,numeric,uuid,text,varchar,bpchar,name,timestamptz}"

# Catalogs are read by the snapshot. What is marked by its xmin was not written since it was marked.
_LOOK = """
    WITH RECURSIVE part AS (
        SELECT {table}::pg_catalog.oid AS oid
         UNION
        SELECT inhrelid FROM part JOIN pg_catalog.pg_inherits ON inhparent = part.oid
    ), relation AS (
        SELECT part.oid, relkind, relam, relpersistence, relfilenode, relrowsecurity,
               part.oid = {table}::pg_catalog.oid AS is_root
          FROM part LEFT JOIN pg_catalog.pg_class AS known ON known.oid = part.oid
    ), attribute AS (
        SELECT attrelid, attnum, atttypid, attgenerated, attribute.xmin,
               attrelid = {table}::pg_catalog.oid AND attnum = ANY({columns}) AS is_read
          FROM pg_catalog.pg_attribute AS attribute JOIN part ON part.oid = attrelid
         WHERE attnum > 0
    ), type AS (
        SELECT type.oid, typname, typoutput, typsend FROM pg_catalog.pg_type AS type
         WHERE type.oid IN (SELECT atttypid FROM attribute WHERE is_read)
            OR type.oid = 'pg_catalog.text'::pg_catalog.regtype
    ), made AS (
        SELECT casted.oid, castfunc FROM pg_catalog.pg_cast AS casted
         WHERE castsource IN (SELECT oid FROM type) AND casttarget IN (SELECT oid FROM type)
    ), function AS (
        SELECT oid, xmin FROM pg_catalog.pg_proc
         WHERE oid IN (SELECT typoutput FROM type UNION SELECT typsend FROM type
                        UNION SELECT castfunc FROM made)
    ), server AS (
        SELECT pg_catalog.pg_is_in_recovery() AS is_replica,
               pg_catalog.pg_current_snapshot() AS snapshot
    )
    SELECT CASE
             WHEN is_replica THEN 'the server is a replica'
             WHEN (pg_catalog.current_schemas(true))[1] <> 'pg_catalog'
             THEN 'pg_catalog does not come first on the role''s search path'
             WHEN EXISTS (SELECT FROM relation WHERE relkind IS NULL OR relkind NOT IN ('r', 'p')
                             OR relkind = 'r' AND relam <> 2)
             THEN 'rows are not those of a table alone'
             WHEN EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')
             THEN 'rows may be on other servers'
             WHEN (SELECT relkind = 'r' FROM relation WHERE is_root)
                  AND (SELECT pg_catalog.count(*) > 1 FROM relation)
             THEN 'the table has children'
             WHEN EXISTS (SELECT FROM relation WHERE relpersistence <> 'p')
             THEN 'the table is not a permanent one'
             WHEN EXISTS (SELECT FROM relation WHERE relrowsecurity)
             THEN 'the table has row security'
             WHEN NOT pg_catalog.has_table_privilege({table}::pg_catalog.oid, 'SELECT')
             THEN 'the role may not read all columns of the table'
             WHEN EXISTS (SELECT FROM attribute WHERE attgenerated = 'v')
             THEN 'the table has virtual columns'
             WHEN (SELECT pg_catalog.count(*) FROM attribute WHERE is_read)
                  <> (SELECT pg_catalog.count(DISTINCT each) FROM pg_catalog.unnest({columns}) each)
             THEN 'columns changed while they were read'
             WHEN EXISTS (SELECT FROM type
                           WHERE oid >= 16384 OR typname <> ALL (CAST({types} AS text[])))
             THEN 'a column has a type whose values may read otherwise'
             WHEN EXISTS (SELECT FROM made WHERE oid >= 16384 OR castfunc >= 16384)
             THEN 'types of columns have casts that are not PostgreSQL''s'
           END AS refusal,
           (SELECT CASE relkind WHEN 'r' THEN 'ONLY ' ELSE '' END FROM relation WHERE is_root)
             || {table}::pg_catalog.regclass::pg_catalog.text AS name,
           (SELECT pg_catalog.array_agg(oid::pg_catalog.int8 ORDER BY oid) FROM relation) AS parts,
           (SELECT attname::pg_catalog.text FROM pg_catalog.pg_attribute
             WHERE attrelid = {table}::pg_catalog.oid AND attnum = ({columns})[1]) AS key,
           pg_catalog.pg_snapshot_xmin(snapshot)::pg_catalog.text AS xmin,
           pg_catalog.pg_snapshot_xmax(snapshot)::pg_catalog.text AS xmax,
           CASE WHEN NOT is_replica
                THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')
            END::pg_catalog.text AS lsn,
           (SELECT pg_catalog.sum(pg_catalog.pg_stat_get_tuples_deleted(oid)) FROM relation)
             ::pg_catalog.text AS deleted,
           CAST({columns} AS text) AS read,
           EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text AS start,
           CASE WHEN NOT is_replica
                THEN pg_catalog.left(
                       pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8)
            END AS timeline,
           (SELECT pg_catalog.string_agg(
                     pg_catalog.format('%s %s %s', oid, relkind, relfilenode), ',' ORDER BY oid)
              FROM relation) AS files,
           (SELECT pg_catalog.string_agg(pg_catalog.format('%s %s %s', attrelid, attnum, xmin),
                                         ',' ORDER BY attrelid, attnum)
              FROM attribute) AS attributes,
           (SELECT pg_catalog.string_agg(
                     pg_catalog.format('%s %s', oid, xmin), ',' ORDER BY oid)
              FROM function) AS functions
      FROM server"""
REMEMBERED = ("marks", "xmin", "lsn", "deleted")  # of a view
MARKS = ("read", "start", "timeline", "files", "attributes", "functions")

# A row's age, in transactions, is that of its xmin; `age` counts from one moment of the transaction
# on.
_IS_NEWER = "pg_catalog.age(xmin) <= (SELECT pg_catalog.age({xmin}::pg_catalog.xid))"
# How many other tables were locked, which are read if the name means another table than the one
# that was looked at, or if partitions came meanwhile.
_OTHERS = """
    SELECT pg_catalog.count(*)
      FROM pg_catalog.pg_locks LEFT JOIN pg_catalog.pg_class AS known ON known.oid = relation
     WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation'
       AND relation >= 16384 AND relation <> ALL ({parts}::pg_catalog.oid[])
       AND (relkind IS NULL OR relkind IN ('r', 'p', 'v', 'm', 'f'))"""
_COUNT = """
    SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE {is_newer}), ({others})
      FROM {name}"""
_NEWER = "SELECT {key} FROM {name} AS source WHERE {is_newer}"
_HEADER = 19  # bytes of a binary COPY before its first row
_ROW = struct.Struct("!hiqiqiq")


class NotComparable(RainboError):
    """A table of which nothing can be said without reading its rows; the message says why."""


@dataclass(frozen=True)
class View:
    """A table as one snapshot shows it.

    name: as FROM takes it now. key: the column of the source id. parts: the oids of it and of its
    partitions. xmin, xmax: of the snapshot; lsn: the log's end after it was taken. deleted: how
    many rows, by the server's statistics, which may be late. marks: a hash of all that has to stay
    the same.
    """

    name: str
    key: str
    parts: tuple[int, ...]
    xmin: int
    xmax: int
    lsn: int
    deleted: int
    marks: str

    def as_facts(self) -> dict[str, object]:
        """Return what is to be remembered of it, as facts of a basis."""
        return {name: getattr(self, name) for name in REMEMBERED}


@dataclass(frozen=True)
class Earlier:
    """What is remembered of the view that was last proved, and how many rows there were."""

    marks: str
    xmin: int
    lsn: int
    rows: int
    deleted: int = 0

    @classmethod
    def of_facts(cls, facts: Mapping[str, str], rows: int) -> Self | None:
        """Return None if nothing is remembered."""
        if not facts.keys() >= {*REMEMBERED}:
            return None
        xmin, lsn, deleted = (int(facts[name]) for name in REMEMBERED[1:])
        return cls(facts["marks"], xmin, lsn, rows, deleted)

    def expects_deletes(self, now: View) -> bool:
        """Whether a count is likely to find rows deleted. Nothing but time depends on it."""
        return now.deleted != self.deleted

    def why_not(self, now: View) -> str:
        """Return why a view can't be compared with this one; empty if it can."""
        if now.marks != self.marks:
            return "the table, its columns or its server are not what they were"
        if now.xmin < self.xmin or now.lsn < self.lsn:
            return "the server went back in time"
        if now.xmax - self.xmin >= FAR:
            return "too many transactions came between"
        return ""


@dataclass(frozen=True)
class Found:
    """rows: how many there are. newer: how many of them may have been written since.

    others: how many tables were read that were not looked at.
    """

    rows: int
    newer: int
    others: int

    def why_not(self, before: Earlier) -> str:
        """Return why the rows may not be those of before; empty if they are."""
        if self.others:
            return "another table was read"
        if self.newer:
            return f"{counted(self.newer, 'row')} may be new"
        if self.rows != before.rows:
            return f"{counted(self.rows, 'row')}, {before.rows:,} before"
        return ""


def look(source: Connection, query: Query, probed: Probed) -> View:
    """Look at the query's table, inside the transaction that probed it. Raises NotComparable."""
    table, columns = _origin(query, probed)
    statement = sql.SQL("SAVEPOINT looking; {}; RELEASE looking").format(
        sql.SQL(_LOOK).format(
            table=sql.Literal(table),
            columns=sql.SQL("CAST({} AS pg_catalog.int2[])").format(
                sql.Literal("{" + ",".join(map(str, columns)) + "}")
            ),
            types=sql.Literal(_TYPES),
        )
    )
    try:
        cursor = source.execute(statement)
    except (psycopg.ProgrammingError, psycopg.NotSupportedError) as error:
        # Some services take such functions away.
        if source.info.transaction_status != pq.TransactionStatus.INERROR:
            raise
        source.execute("ROLLBACK TO SAVEPOINT looking")
        what = error.diag.message_primary or type(error).__name__
        raise NotComparable(f"the server did not answer: {what}") from error
    cursor.nextset()
    names = [column.name for column in cursor.description or ()]
    found: dict[str, Any] = dict(zip(names, cursor.fetchone() or (), strict=True))
    if found["refusal"]:
        raise NotComparable(found["refusal"])
    return View(
        found["name"],
        found["key"],
        tuple(found["parts"]),
        int(found["xmin"]),
        int(found["xmax"]),
        int(found["lsn"]),
        int(found["deleted"]),
        _hash(found),
    )


def count(
    source: Connection, view: View, before: Earlier, meanwhile: Callable[[], object]
) -> Found:
    """Count a view's rows in its transaction; call `meanwhile` while the source does it."""
    source.execute(copy_stream.LIMIT_LOAD)
    copy_stream.ask(source, sql.SQL(_COUNT).format(others=_others(view), **_rows(view, before)))
    meanwhile()
    answer = bytearray()
    copy_stream.take(source, answer.extend)
    _, _, rows, _, newer, _, others = _ROW.unpack_from(answer, _HEADER)
    return Found(rows, newer, others)


def newer_ids(view: View, before: Earlier, key: sql.Composable) -> sql.Composed:
    """Return the SQL that asks for the ids of the rows that `count` finds newer.

    key: the id, of a table named source.
    """
    return sql.SQL(_NEWER).format(key=key, **_rows(view, before))


def others_read(source: Connection, view: View) -> bool:
    """Whether the transaction has read tables, until now, that were not looked at."""
    return source.execute(_others(view)).fetchone() != (0,)


def is_on_disk(source: Connection, view: View) -> bool:
    """Whether all that a view shows would survive a crash of its server."""
    found = source.execute(
        "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_flush_lsn(), '0/0') >= %s",
        [view.lsn],
    ).fetchone()
    return found == (True,)


def _rows(view: View, before: Earlier) -> dict[str, sql.Composable]:
    """Return the names that _COUNT and _NEWER share."""
    xmin = sql.Literal(str(before.xmin & XID_BITS))
    return {"name": sql.SQL(view.name), "is_newer": sql.SQL(_IS_NEWER).format(xmin=xmin)}


def _others(view: View) -> sql.Composed:
    parts = sql.Literal("{" + ",".join(map(str, view.parts)) + "}")
    return sql.SQL(_OTHERS).format(parts=parts)


def _origin(query: Query, probed: Probed) -> tuple[int, list[int]]:
    """Return the table that all columns of a query are of, and the number of each there."""
    if not _FORM.fullmatch(_COMMENT.sub("", query.sql)):
        raise NotComparable("the query is more than columns of one table")
    origins = [probed.origins[column.name] for column in query.columns]
    tables = {table for table, _ in origins}
    numbers = [number for _, number in origins]
    if len(tables) != 1 or 0 in tables or min(numbers) < 1:
        raise NotComparable("the query returns more than columns of one table")
    return tables.pop(), numbers


def _hash(found: Mapping[str, Any]) -> str:
    text = ";".join(f"{name}={found[name]}" for name in MARKS)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
