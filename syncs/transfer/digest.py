"""Digests that prove rows equal: the same SQL on the source and on RAINBO's side.

A row's hash covers every compared column and the source id. PostgreSQL's own hash functions
give the same value on servers of one kind from 14 on for UTF8 text, which each run proves with
`compute_signature`; other servers compute md5 over bytes that both sides have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import psycopg
from psycopg import sql

VERSION = 3  # of what a digest is made of

Signature = list[tuple[int, int]]

EVERY = sql.SQL("true")
DOUBTED = "doubted"  # a fact of a basis: the stored rows are not what was published
NO_ID = sql.Literal("(no id)")  # the id of rows without one

_SIGNATURE = """
    SELECT hash_record_extended(ROW(number, moment), 0),
           hashtextextended(one COLLATE "C", hashtextextended(other COLLATE "C", 1))
      FROM (VALUES ('ann@example.com', NULL, 42::bigint, 'epoch'::timestamptz),
                   ('', 'j\u00fcrgen \u00df \u6f22\u5b57 \U0001f642', -1, 'infinity'),
                   (repeat('x', 1000), '', NULL, NULL)) AS fixed (one, other, number, moment)"""


class Hashing(Enum):
    """How a source's rows are hashed, by its server encoding."""

    NATIVE = "native"
    MD5_UTF8 = "md5"
    MD5_BYTES = "md5-bytes"

    @classmethod
    def of(cls, server_encoding: str) -> Hashing:
        if server_encoding == "UTF8":
            return cls.NATIVE
        return cls.MD5_BYTES if server_encoding == "SQL_ASCII" else cls.MD5_UTF8

    @property
    def here(self) -> Hashing:
        """The form that gives the same value in RAINBO's own UTF8 database."""
        return Hashing.NATIVE if self is Hashing.NATIVE else Hashing.MD5_UTF8


def row_hash(
    values: Sequence[sql.Composable], kinds: Sequence[str], hashing: Hashing
) -> sql.Composed:
    """A bigint over the values, of which the first is the source id.

    kinds: their types. NULL differs from every text; nothing runs together.
    """
    if hashing is Hashing.NATIVE:
        return _native(values, kinds)
    quoted = [sql.SQL("quote_nullable(({})::text)").format(value) for value in values]
    return _md5(sql.SQL("concat_ws(',', {})").format(sql.SQL(", ").join(quoted)), 64, hashing)


def bucket(key: sql.Composable, count: int, hashing: Hashing) -> sql.Composed:
    """The bucket (0 to count - 1; count is a power of two) of a source id."""
    if hashing is Hashing.NATIVE:
        number = sql.SQL('hashtextextended(({})::text COLLATE "C", 0)').format(key)
    else:
        number = _md5(sql.SQL("({})::text").format(key), 64, hashing)
    return sql.SQL("({} & {})::int").format(number, sql.Literal(count - 1))


def placed(
    hashed: sql.Composable, count: int, hashing: Hashing, where: sql.Composable = EVERY
) -> sql.Composed:
    """A query that returns (id, hash), with the bucket of each; where: which buckets."""
    return sql.SQL(
        "SELECT id, hash, bucket FROM (SELECT id, hash, {} AS bucket "
        "FROM ({}) AS hashed (id, hash)) AS placed WHERE {}"
    ).format(bucket(sql.Identifier("id"), count, hashing), hashed, where)


def by_bucket(placed: sql.Composable) -> sql.Composed:
    """Count, xor and sum per bucket of a query that returns (id, hash, bucket).

    The planner can't see through the union with nothing. Else it would expect a bucket per row,
    and sort them all.
    """
    return sql.SQL(
        "SELECT bucket, count(*) AS rows, bit_xor(hash) AS xor, sum((hash >> 32)::int) AS sum "
        "FROM (SELECT bucket, hash FROM ({}) AS placed UNION ALL SELECT 0, 0::bigint WHERE false) "
        "AS hashes GROUP BY bucket"
    ).format(placed)


def choose_hashing(
    server_encoding: str, source: psycopg.Connection[Any], signature: Signature
) -> Hashing:
    """Return how to hash the source's rows so that both sides get the same values.

    signature: of our own server.
    """
    hashing = Hashing.of(server_encoding)
    if hashing is Hashing.NATIVE and compute_signature(source) != signature:
        return Hashing.MD5_UTF8
    return hashing


def compute_signature(server: psycopg.Connection[Any]) -> Signature:
    """Hash fixed values with a UTF8 server's own functions."""
    return server.execute(_SIGNATURE).fetchall()


def format_basis(facts: Mapping[str, object]) -> str:
    """Format what stored digests were computed from, as text that a later run compares."""
    return " ".join(f"{name}={value}" for name, value in facts.items())


def parse_basis(basis: str) -> dict[str, str]:
    return dict(fact.split("=", 1) for fact in basis.split())


def _native(values: Sequence[sql.Composable], kinds: Sequence[str]) -> sql.Composed:
    """The id's hash, seeded by the others', each of which has a seed of its own.

    A record's hash over all of them would take half as long again. Without the id's, whose seed
    they are, two rows of a bucket that exchange a value would not change its xor.
    """
    key, rest = values[0], [*zip(values[1:], kinds[1:], strict=True)]
    parts = [sql.SQL("({} IS NULL)::int::bigint").format(key)]
    parts += [
        sql.SQL("coalesce(hashtextextended({0}, {1}), {1})").format(value, sql.Literal(seed))
        for seed, value in enumerate((value for value, kind in rest if kind == "text"), 2)
    ]
    if others := [value for value, kind in rest if kind != "text"]:
        record = sql.SQL(", ").join(others)
        parts.append(sql.SQL("hash_record_extended(ROW({}), 0)").format(record))
    return sql.SQL("hashtextextended(coalesce({}, {}), {})").format(
        key, NO_ID, sql.SQL(" # ").join(parts)
    )


def _md5(text: sql.Composable, bits: int, hashing: Hashing) -> sql.Composed:
    content = (
        text if hashing is Hashing.MD5_BYTES else sql.SQL("convert_to({}, 'UTF8')").format(text)
    )
    return sql.SQL("('x' || left(md5({}), {}))::bit({})::bigint").format(
        content, sql.Literal(bits // 4), sql.Literal(bits)
    )
