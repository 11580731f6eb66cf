from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from syncs.digest import Hashing, bucket, row_hash
from tests.instances import Instance, InstanceFleet

Extra = Callable[..., Instance]
TEXTS = ["a", "", "Ann", "j\u00fcrgen", "x" * 5000, "a,'b'", None]


def hashes(connection: psycopg.Connection, hashing: Hashing) -> list[int]:
    value = row_hash([sql.SQL("%s::text"), sql.SQL("%s::timestamptz")], hashing)
    with connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        return [
            cursor.execute(
                sql.SQL("SELECT {}").format(value), [text, "2026-11-22 12:00:00.123456+02"]
            ).fetchone()[0]  # type: ignore[index]
            for text in TEXTS
        ]


def test_rows_that_run_together_differ(fleet: InstanceFleet) -> None:
    pairs = [("ab", "c"), ("a", "bc"), (None, "abc"), ("abc", None), ("", "abc"), ("NULL", "abc")]
    for hashing in Hashing:
        value = row_hash([sql.SQL("%s::text"), sql.SQL("%s::text")], hashing)
        with fleet.master.connect() as connection:
            found = {
                connection.execute(sql.SQL("SELECT {}").format(value), pair).fetchone()
                for pair in pairs
            }
        assert len(found) == len(pairs)


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
