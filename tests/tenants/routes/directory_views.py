"""Looks at a directory as a sync does, and reads all of its rows in the same snapshot.

What a count says (`unchanged`) is thus compared with what is so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from common import libpq
from syncs.transfer import copy_stream, unchanged
from syncs.transfer.copy_stream import Connection, Query
from syncs.transfer.digest import Hashing
from syncs.transfer.unchanged import Earlier, NotComparable, View
from tenants.fleet import contract
from tests.instances import Instance

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Seen:
    """view: None, with the reason in `why`, if the table can't be compared. rows: all of them."""

    view: View | None
    why: str
    rows: Rows
    is_on_disk: bool

    @property
    def earlier(self) -> Earlier:
        assert self.view, self.why
        return Earlier(self.view.marks, self.view.xmin, self.view.lsn, len(self.rows))


def directory_query(text: str = "") -> Query:
    known = contract.query("sync_user_routing")
    return Query(known.name, text or known.sql, known.columns)


@contextmanager
def snapshot(instance: Instance) -> Iterator[Connection]:
    """A transaction like that of a sync, which has its snapshot."""
    with instance.connect_as_rainbo() as source:
        source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for name, value in (libpq.PINNED | {"row_security": "off"}).items():
            source.execute("SELECT set_config(%s, %s, true)", [name, value])
        yield source
        source.execute("ROLLBACK")


def see(instance: Instance, query: Query | None = None) -> Seen:
    """What a run remembers that has read all rows."""
    query = query or directory_query()
    with snapshot(instance) as source:
        probed = copy_stream.probe(source, query)
        try:
            view, why = unchanged.look(source, query, probed), ""
        except NotComparable as error:
            view, why = None, str(error)
        rows = read(source, query)
        return Seen(view, why, rows, bool(view and unchanged.is_on_disk(source, view)))


def compare(
    instance: Instance,
    before: Earlier,
    query: Query | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[str, Rows]:
    """Why the rows may not be those of before, and the rows. meanwhile: done after the look."""
    query = query or directory_query()
    with snapshot(instance) as source:
        probed = copy_stream.probe(source, query)
        try:
            view = unchanged.look(source, query, probed)
        except NotComparable as error:
            return str(error), read(source, query)
        meanwhile()
        why = before.why_not(view)
        why = why or unchanged.count(source, view, before, lambda: None).why_not(before)
        return why, read(source, query)


def derive(instance: Instance, before: Earlier, rows: Rows) -> tuple[Counter[Any] | None, Rows]:
    """The rows that follow from those of before and the new ones, and all rows.

    None if a count does not prove that they follow.
    """
    query = directory_query()
    with snapshot(instance) as source:
        probed = copy_stream.probe(source, query)
        now = read(source, query)
        try:
            view = unchanged.look(source, query, probed)
        except NotComparable:
            return None, now
        if before.why_not(view):
            return None, now
        found = unchanged.count(source, view, before, lambda: None)
        key = sql.SQL("source.{}::text").format(sql.Identifier(view.key))
        ids = {row[0] for row in source.execute(unchanged.newer_ids(view, before, key))}
    new = [row for row in now if row[0] in ids]
    kept = [row for row in rows if row[0] not in ids]
    follows = not found.others and len(new) == found.newer
    if follows and len(kept) + found.newer == found.rows:
        return Counter(kept + new), now
    return None, now


def is_called_unchanged(instance: Instance, before: Seen, query: Query | None = None) -> bool:
    """Whether a count says that the rows are those of before; they are, then."""
    why, rows = compare(instance, before.earlier, query)
    assert why or rows == before.rows, "another set of rows was called unchanged"
    return not why


def read(source: Connection, query: Query) -> Rows:
    """All rows and their hashes, read in full by the very expressions of a sync."""
    hashed = copy_stream.rows(query, Hashing.NATIVE)
    ordered = sql.SQL("SELECT * FROM ({}) AS read ORDER BY 1, 2, 3, 5").format(hashed)
    return source.execute(ordered).fetchall()
