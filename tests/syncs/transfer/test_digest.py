from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from syncs.transfer.digest import Hashing, bucket, row_hash
from tests.instances import Instance, InstanceFleet

Row = tuple[str | None, ...]
Extra = Callable[..., Instance]
TEXTS = ["a", "", "Ann", "j\u00fcrgen", "x" * 5000, "a,'b'", None]


def hashes(connection: psycopg.Connection, hashing: Hashing) -> list[int]:
    moment = "2026-11-22 12:00:00.123456+02"
    connection.execute("SET timezone = 'UTC'")
    return hashed(connection, hashing, *(("1", text, moment) for text in TEXTS), moment=True)


def hashed(
    connection: psycopg.Connection, hashing: Hashing, *rows: Row, moment: bool = False
) -> list[int]:
    """The hashes of rows (id, text, text or moment)."""
    kinds = ["text", "text", "timestamptz" if moment else "text"]
    query = sql.SQL("SELECT {} FROM (VALUES (%s::text, %s::text, %s::{})) AS given (a, b, c)")
    value = row_hash([sql.SQL(name) for name in "abc"], kinds, hashing)
    filled = query.format(value, sql.SQL(kinds[2]))
    return [found for row in rows for (found,) in connection.execute(filled, row)]


def test_rows_that_run_together_differ(fleet: InstanceFleet) -> None:
    texts = [("ab", "c"), ("a", "bc"), (None, "abc"), ("abc", None), ("", "abc"), ("NULL", "abc")]
    ids = ["1", "(no id)", None]
    pairs = [(key, *pair) for key in ids for pair in [*texts, ("c", "ab"), (None, None)]]
    for hashing in Hashing:
        with fleet.master.connect() as connection:
            assert len({*hashed(connection, hashing, *pairs)}) == len(pairs)


def test_two_rows_that_exchange_a_value_have_another_xor(fleet: InstanceFleet) -> None:
    for hashing in Hashing:
        with fleet.master.connect() as connection:
            one, two = hashed(connection, hashing, ("1", "a", "x"), ("2", "b", "y"))
            three, four = hashed(connection, hashing, ("1", "b", "x"), ("2", "a", "y"))
        assert one ^ two != three ^ four


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII", "LATIN1"])
def test_a_source_hashes_as_we_do(
    fleet: InstanceFleet, extra_instance: Extra, encoding: str
) -> None:
    source = extra_instance(4, encoding=encoding)
    there = Hashing.of(encoding)
    with fleet.master.connect() as ours, source.connect() as theirs:
        assert hashes(ours, there.here) == hashes(theirs, there)


def test_buckets_spread_and_agree(fleet: InstanceFleet, extra_instance: Extra) -> None:
    source = extra_instance(4, encoding="LATIN1")
    found = []
    for instance, hashing in ((fleet.master, Hashing.MD5_UTF8), (source, Hashing.of("LATIN1"))):
        query = sql.SQL("SELECT {} FROM generate_series(1, 10000) AS n").format(
            bucket(sql.SQL("n"), 64, hashing)
        )
        with instance.connect() as connection:
            found.append([row[0] for row in connection.execute(query)])
    assert found[0] == found[1]
    assert set(found[0]) == set(range(64))
