"""Finds what differs between a source and its last publish: digests, then hashes, then rows.

The source computes one digest per bucket over all its rows. For buckets whose digest differs from
the one stored at the last publish it sends the hash of each row, and for rows whose hash differs
from that of the stored row, the row itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log

from psycopg import sql

from syncs.transfer import copy_stream, digest
from syncs.transfer.copy_stream import Connection, Query, copying_in
from syncs.transfer.proof import Cached
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage

BATCH = 50_000  # ids requested at once

THEIRS = sql.SQL("SELECT bucket, rows, xor, sum FROM source_digests")
RECOMPUTED = "recomputed_digests"


@dataclass(frozen=True)
class Compared:
    """A source's digests compared with those of the last publish; table source_digests has them.

    unlike: the buckets that differ. filled: how many have rows, here or there.
    """

    rows: int
    filled: int
    unlike: list[int]

    @property
    def changed(self) -> float:
        """Estimate how many rows changed, assuming they are spread evenly over the buckets."""
        alike = 1 - len(self.unlike) / max(1, self.filled)
        return self.filled * -log(alike) if alike > 0 else float(self.rows)


def compare(
    session: Session,
    source: Connection,
    query: Query,
    cached: Cached,
    meanwhile: Callable[[], object],
    kinds: Mapping[str, str],
) -> Compared:
    """Query the source's digests in its snapshot; call `meanwhile` while it computes them."""
    columns = {"bucket": "int", "rows": "bigint", "xor": "bigint", "sum": "bigint"}
    ask_digests(source, query, cached, kinds)
    meanwhile()
    receive(session, "source_digests", columns, source)
    rows, filled, unlike = session.execute(
        sql.SQL(
            "SELECT coalesce(sum(theirs.rows), 0)::bigint, count(*), coalesce(array_agg(bucket) "
            "FILTER (WHERE (kept.rows, kept.xor, kept.sum) IS DISTINCT FROM "
            "(theirs.rows, theirs.xor, theirs.sum)), '{{}}') "
            "FROM source_digests AS theirs FULL JOIN ({}) AS kept USING (bucket)"
        ).format(cached.kept)
    ).fetchone() or (0, 0, [])
    return Compared(rows, filled, unlike)


def ask_digests(source: Connection, query: Query, cached: Cached, kinds: Mapping[str, str]) -> None:
    """Let the source start to compute (bucket, rows, xor, sum) of all its rows.

    kinds: its types of the columns.
    """
    source.execute(copy_stream.LIMIT_LOAD)
    hashed = copy_stream.hashed(query, cached.hashing, kinds)
    copy_stream.ask(source, digest.by_bucket(digest.placed(hashed, cached.buckets, cached.hashing)))


def refine(
    session: Session,
    source: Connection,
    query: Query,
    cached: Cached,
    unlike: list[int],
    kinds: Mapping[str, str],
) -> None:
    """Find the rows that differ in these buckets; fills table differing."""
    where = in_buckets(cached, unlike)
    hashed = copy_stream.hashed(query, cached.hashing, kinds)
    theirs = digest.placed(hashed, cached.buckets, cached.hashing, where)
    asked = sql.SQL("SELECT id, hash FROM ({}) AS hashes").format(theirs)
    columns = {"id": 'text COLLATE "C"', "hash": "bigint"}
    copy_stream.ask(source, asked)
    receive(session, "source_hashes", columns, source)
    session.execute("ANALYZE source_hashes")  # or both sides would be sorted to be joined
    session.execute(
        sql.SQL(
            "CREATE TEMP TABLE differing AS SELECT row_number() OVER () AS number, source_id FROM "
            "(SELECT DISTINCT coalesce(theirs.id, ours.id) AS source_id FROM source_hashes AS "
            "theirs FULL JOIN ({}) AS ours ON theirs.hash = ours.hash "  # which covers the id
            "WHERE theirs.id IS NULL OR ours.id IS NULL) AS ids"
        ).format(cached.placed(where))
    )
    session.execute("ANALYZE differing")


def in_buckets(cached: Cached, buckets: list[int]) -> sql.Composed:
    """Return the condition that a bucket is one of these."""
    marks = bytearray(b"0" * cached.buckets)
    for bucket in buckets:
        marks[bucket] = ord("1")
    return sql.SQL("get_bit({}::varbit, bucket) = 1").format(sql.Literal(marks.decode()))


def mark_none(session: Session) -> None:
    """Create an empty table differing: no row differs."""
    session.execute("CREATE TEMP TABLE differing (number bigint, source_id text)")
    session.execute("ANALYZE differing")


def withheld_before(session: Session, cached: Cached) -> int:
    """Count the rows that were withheld at the last publish and don't differ."""
    found = session.execute(
        sql.SQL(
            "SELECT count(*) FROM ({}) AS withheld "
            "WHERE source_id NOT IN (SELECT source_id FROM differing)"
        ).format(cached.withheld)
    ).fetchone()
    return int(found[0]) if found else 0


def has_no_id(session: Session) -> bool:
    """Whether rows differ that can't be requested by id: without one, or with one that was cut."""
    return (
        session.execute(
            sql.SQL(
                "SELECT FROM differing WHERE source_id = {} OR octet_length(source_id) >= {}"
            ).format(digest.NO_ID, sql.Literal(copy_stream.LONGEST))
        ).rowcount
        > 0
    )


def pull(
    stage: Stage, query: Query, source: Connection, cached: Cached, kinds: Mapping[str, str]
) -> int:
    """Stage the source's rows that differ; return how many there are.

    kinds: the source's own types, that of the id so that it can use its index.
    """
    id_type = kinds[query.columns[0].name]
    pulled, first = 0, 1
    while ids := _ids(stage.session, first):
        where = sql.SQL("source.{} = ANY ({}::{}[])").format(
            sql.Identifier(query.columns[0].name), sql.Literal(ids), sql.Identifier(id_type)
        )
        rows = copy_stream.rows(query, cached.hashing, where, kinds)
        with stage.receiving(cached.target, "UTF8") as write:
            pulled += copy_stream.copy_out(source, rows, write)
        first += BATCH
    return pulled


def recompute(session: Session, cached: Cached) -> None:
    """Compute the digests of all rows as they are stored now; fills table recomputed_digests."""
    session.execute(
        sql.SQL(
            "CREATE TEMP TABLE {} AS SELECT {}::text AS sync, {}::text AS target, ours.* "
            "FROM ({}) AS ours"
        ).format(
            sql.Identifier(RECOMPUTED),
            sql.Literal(cached.sync),
            sql.Literal(cached.target),
            cached.digests(),
        )
    )


def store_digests(session: Session, touched: Cached) -> None:
    """Store the current digests of the rows that the publish may touch, until it ends."""
    session.execute(
        sql.SQL("CREATE TEMP TABLE digests_before ON COMMIT DROP AS {}").format(touched.digests())
    )


def adjusted(touched: Cached) -> sql.Composed:
    """Return the last publish's digests, updated for the touched rows as they are now."""
    return replaced(touched, sql.SQL("TABLE digests_before"), touched.digests())


def replaced(touched: Cached, before: sql.Composable, after: sql.Composable) -> sql.Composed:
    """Return the last publish's digests, with those of some rows replaced by others."""
    return sql.SQL(
        "SELECT bucket, sum(rows)::bigint AS rows, bit_xor(xor) AS xor, sum(sum)::bigint AS sum "
        "FROM ({} UNION ALL SELECT bucket, -rows, xor, -sum FROM ({}) AS before UNION ALL {}) "
        "AS parts GROUP BY bucket HAVING sum(rows) <> 0"
    ).format(touched.kept, before, after)


def _ids(session: Session, first: int) -> str | None:
    """Return a batch of the ids that differ, as an array's text."""
    found = session.execute(
        "SELECT array_agg(source_id)::text FROM differing WHERE number BETWEEN %s AND %s",
        [first, first + BATCH - 1],
    ).fetchone()
    return found[0] if found else None


def receive(session: Session, table: str, columns: dict[str, str], source: Connection) -> None:
    """Receive what was asked of a source in a new temporary table."""
    name = sql.Identifier(table)
    defined = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), copy_stream.verbatim(kind))
        for column, kind in columns.items()
    )
    session.execute(sql.SQL("CREATE TEMP TABLE {} ({})").format(name, defined))
    with copying_in(session, name, columns) as write:
        copy_stream.take(source, write)
