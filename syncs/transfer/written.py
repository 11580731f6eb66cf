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
PART = 20  # if one of so many rows is new, digests find them as quickly

WITHIN = sql.SQL("source_id IN (SELECT source_id FROM differing)")


@dataclass(frozen=True)
class Written:
    """The rows of a view that may have been written since an earlier one.

    cached: the stored rows of table differing. kinds: the source's types of the columns.
    """

    stage: Stage
    source: Connection
    query: Query
    cached: Cached
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

    def _find(self) -> None:
        """Fill table differing with the ids of the rows that may be newer."""
        session, column = self.stage.session, self.query.columns[0]
        own = replace(column, name=self.view.key)
        key = copy_stream.key(own, self.cached.hashing, {own.name: self.kinds[column.name]})
        copy_stream.ask(self.source, unchanged.newer_ids(self.view, self.before, key))
        difference.receive(session, "newer", {"source_id": 'text COLLATE "C"'}, self.source)
        session.execute(
            "CREATE TEMP TABLE differing AS SELECT row_number() OVER () AS number, source_id "
            "FROM (SELECT DISTINCT source_id FROM newer) AS ids"
        )
        session.execute("ANALYZE differing")

    def _derive_digests(self) -> int:
        """Fill table source_digests with what the source's must be; return its number of rows."""
        session, cached = self.stage.session, self.cached
        derived = difference.replaced(cached, cached.digests(), cached.staged(self.stage))
        session.execute(sql.SQL("CREATE TEMP TABLE source_digests AS {}").format(derived))
        found = session.execute("SELECT sum(rows)::bigint FROM source_digests").fetchone()
        return int(found[0] or 0) if found else 0


def leave_to_digests(stage: Stage, target: str) -> None:
    """Drop what was staged. Table newer keeps the ids."""
    for statement in (
        "CREATE TEMP TABLE IF NOT EXISTS newer (source_id text)",
        "DROP TABLE IF EXISTS differing, source_digests",
    ):
        stage.session.execute(statement)
    stage.drop_target(target)


def others_differ(session: Session) -> bool:
    """Whether digests found that rows differ which are not in table newer."""
    others = "SELECT FROM differing WHERE source_id NOT IN (SELECT source_id FROM newer) LIMIT 1"
    return session.execute(others).rowcount > 0
