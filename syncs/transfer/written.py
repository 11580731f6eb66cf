"""Finds the rows that were written since an earlier snapshot, and proves that no others changed.

**Why it is so.** As `unchanged` has it, a row that looks old is one that the earlier snapshot S
showed. Let W be the rows that may be newer, all rows with an id of theirs. The others all look old,
so that they are among those that S showed with other ids than W's. If there are as many of both,
they are the same: nothing but W was inserted or updated, and what is gone had an id of W's. So the
table is what S showed, with the rows of W's ids replaced by W; W may well have rows of S.

**What it rests on**: all that `unchanged` rests on, and

- W is all rows with its ids. They are read by their ids, and must be as many as look newer; else
  another row, which looks old, has an id of theirs: `test_an_old_row_with_the_id_of_a_new_one`.
- All of it was read of the table that was looked at: `test_another_table_read_by_id`.
- An id is the same text on both sides: rows without one, or with one that was cut, are left to
  digests: `test_rows_without_an_id`.
- The rows that S showed are counted by the digests that were stored with them, and those of them
  that W replaces where they are stored: `test_deletes_are_left_to_digests`.

**Deletes** are found by the source's digests, which are then compared anyway, so that nothing of
the above is relied on: with W replaced, the digests of the last publish differ from the source's by
the rows that are gone. Those of a bucket are the stored rows whose hashes make up the difference.
Where anything else differs, hashes of rows are compared:
`test_what_new_and_deleted_rows_do_not_explain`.

The tests are in `tests/tenants/routes/test_written.py`; `test_unchanged_histories.py` looks for
what is not listed. Whoever writes to RAINBO's own tables is not found here, but by the share of the
digests that each run recomputes and by the next comparison of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from psycopg import sql

from common.text import counted
from syncs.transfer import copy_stream, difference, unchanged
from syncs.transfer.copy_stream import Connection, Query
from syncs.transfer.proof import Cached
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage
from syncs.transfer.unchanged import Earlier, Found, View

FEW = 1000  # rows that are always read
MOST_GONE = 3  # rows of a bucket: of four among 64, there are half a million sets
PART = 20  # if one of so many rows is new, digests find them as quickly

WITHIN = sql.SQL("source_id IN (SELECT source_id FROM differing)")

_UNEXPLAINED = """
    CREATE TEMP TABLE gone_rows AS
    SELECT bucket, coalesce(ours.rows, 0) - coalesce(theirs.rows, 0) AS rows,
           coalesce(ours.xor, 0) # coalesce(theirs.xor, 0) AS xor
      FROM ({derived}) AS ours FULL JOIN source_digests AS theirs USING (bucket)
     WHERE (ours.rows, ours.xor, ours.sum) IS DISTINCT FROM (theirs.rows, theirs.xor, theirs.sum)"""
_OLD = """
    CREATE TEMP TABLE old_rows AS
    SELECT id COLLATE "C" AS id, hash, bucket FROM ({placed}) AS placed"""
# All but the last of a bucket's rows are tried, each set once; the last must have the hash that is
# left.
_GONE = """
    CREATE TEMP TABLE gone AS
      WITH RECURSIVE old AS (
               SELECT * FROM old_rows WHERE id NOT IN (SELECT source_id FROM differing)),
           tried (bucket, rows, xor, ids, latest) AS (
               SELECT bucket, rows, xor, '{}'::text[] COLLATE "C", ''::text COLLATE "C"
                 FROM gone_rows
                UNION ALL
               SELECT bucket, rows - 1, xor # hash, ids || id, id
                 FROM tried JOIN old USING (bucket) WHERE rows > 1 AND id > latest)
    SELECT bucket, ids || id AS ids
      FROM tried JOIN old USING (bucket) WHERE rows = 1 AND hash = xor AND id > latest"""
_MARK_GONE = """
    INSERT INTO differing
    SELECT (SELECT count(*) FROM differing) + row_number() OVER (), id
      FROM gone CROSS JOIN unnest(ids) AS id"""


@dataclass(frozen=True)
class Written:
    """The rows of a view that may have been written since an earlier one.

    cached: the stored rows of table differing; every: all. kinds: the source's types of the
    columns.
    """

    stage: Stage
    source: Connection
    query: Query
    cached: Cached
    every: Cached
    kinds: Mapping[str, str]
    view: View
    before: Earlier

    def read(self, found: Found) -> str:
        """Stage the rows that a count found newer; fill tables differing and source_digests.

        Returns why others may have changed, too; empty if none has.
        """
        if found.newer > max(FEW, found.rows / PART):
            return f"{counted(found.newer, 'row')} may be new"
        self._find()
        if difference.has_no_id(self.stage.session):
            return "rows without an id, or with a very long one, may be new"
        pulled = difference.pull(self.stage, self.query, self.source, self.cached, self.kinds)
        if pulled != found.newer:
            return "rows that may be new have the ids of others"
        if unchanged.others_read(self.source, self.view):
            return "another table was read"
        if self._derive_digests() != found.rows:
            return f"{counted(found.newer, 'row')} may be new, and others were deleted"
        return ""

    def explain(self, rows: int) -> int | None:
        """Stage the new rows; fill table differing with their ids and those of deleted ones.

        rows: of the source, whose digests are in table source_digests. Returns how many rows were
        staged; None if others may differ.
        """
        session, cached = self.stage.session, self.cached
        newer = self._find()
        if newer > max(FEW, rows / PART) or difference.has_no_id(session):
            return None
        pulled = difference.pull(self.stage, self.query, self.source, cached, self.kinds)
        session.execute(sql.SQL(_UNEXPLAINED).format(derived=self._derived()))
        gone = session.execute("SELECT bucket, rows FROM gone_rows").fetchall()
        if not gone:
            return pulled
        if max(rows for _, rows in gone) > MOST_GONE:
            return None
        where = difference.in_buckets(cached, [bucket for bucket, _ in gone])
        session.execute(sql.SQL(_OLD).format(placed=self.every.placed(where)))
        session.execute("ANALYZE gone_rows, old_rows")
        session.execute(_GONE)
        if not self._explains(len(gone)):
            return None
        session.execute(_MARK_GONE)
        session.execute("ANALYZE differing")
        return None if difference.has_no_id(session) else pulled

    def _explains(self, buckets: int) -> bool:
        """Whether table gone has one set of rows for each of these buckets."""
        found = self.stage.session.execute("SELECT count(*), count(DISTINCT bucket) FROM gone")
        return found.fetchone() == (buckets, buckets)

    def _find(self) -> int:
        """Fill table differing with the ids of the rows that may be newer; return their number."""
        session, column = self.stage.session, self.query.columns[0]
        own = replace(column, name=self.view.key)
        key = copy_stream.key(own, self.cached.hashing, {own.name: self.kinds[column.name]})
        copy_stream.ask(self.source, unchanged.newer_ids(self.view, self.before, key))
        session.execute("DROP TABLE IF EXISTS newer")
        difference.receive(session, "newer", {"source_id": 'text COLLATE "C"'}, self.source)
        newer = session.execute(
            "CREATE TEMP TABLE differing AS SELECT row_number() OVER () AS number, source_id "
            "FROM (SELECT DISTINCT source_id FROM newer) AS ids"
        ).rowcount
        session.execute("ANALYZE differing")
        return newer

    def _derived(self) -> sql.Composed:
        """The digests of the last publish, with the stored rows of table differing replaced."""
        cached = self.cached
        return difference.replaced(cached, cached.digests(), cached.staged(self.stage))

    def _derive_digests(self) -> int:
        """Fill table source_digests with what the source's must be; return its number of rows."""
        session = self.stage.session
        session.execute(sql.SQL("CREATE TEMP TABLE source_digests AS {}").format(self._derived()))
        found = session.execute("SELECT sum(rows)::bigint FROM source_digests").fetchone()
        return int(found[0] or 0) if found else 0


def leave_to_digests(stage: Stage, target: str) -> None:
    """Drop what was staged. Table newer keeps the ids."""
    stage.session.execute("CREATE TEMP TABLE IF NOT EXISTS newer (source_id text)")
    stage.session.execute("DROP TABLE IF EXISTS source_digests")
    leave_to_hashes(stage, target)


def leave_to_hashes(stage: Stage, target: str) -> None:
    """Drop what was staged. Table source_digests stays."""
    stage.session.execute("DROP TABLE IF EXISTS differing, gone_rows, old_rows, gone")
    stage.drop_target(target)


def others_differ(session: Session) -> bool:
    """Whether digests found that rows differ which are not in table newer."""
    others = "SELECT FROM differing WHERE source_id NOT IN (SELECT source_id FROM newer) LIMIT 1"
    return session.execute(others).rowcount > 0
