"""What a query refers to, compared with the rights that PostgreSQL itself writes into its tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pgparse
import psycopg
import pytest

from tenants.health import catalog, references
from tests.instances import Instance, InstanceFleet

DDL = """
    CREATE SCHEMA other;
    CREATE TYPE point2 AS (x integer, y integer);
    CREATE TABLE a (id integer, b integer, c text, at point2, "Mixed" text);
    CREATE TABLE d (id integer, e text, f jsonb);
    CREATE TABLE other.a (id integer, z text);
    CREATE TABLE g (id integer PRIMARY KEY, h text, i integer) PARTITION BY RANGE (id);
    CREATE VIEW v AS SELECT id, c AS renamed FROM a;"""
QUERIES = (
    "SELECT id FROM a",
    "SELECT * FROM a",
    "SELECT a.*, d.e FROM a, d",
    "SELECT count(*) FROM a",
    'SELECT "Mixed", MIXED.z FROM a, other.a AS mixed',
    "SELECT z FROM other.a WHERE id IN (SELECT b FROM a WHERE c = z)",
    "SELECT x FROM a AS q (x, y) WHERE y > 1",
    "SELECT q FROM d AS q",
    "SELECT to_jsonb(d) FROM d",
    "SELECT (at).x FROM a",
    "SELECT (a.at).y FROM a",
    "SELECT id, e FROM a JOIN d USING (id)",
    "SELECT b, e FROM a NATURAL JOIN d",
    "SELECT j.e FROM (a JOIN d USING (id)) AS j",
    "SELECT j.* FROM (a CROSS JOIN d) AS j (one, two)",
    "SELECT u.id FROM a JOIN d USING (id) AS u",
    "SELECT a.b FROM a LEFT JOIN d ON d.id = a.id AND e IS NULL",
    "WITH w AS (SELECT id, c FROM a), w2 (n) AS (SELECT id FROM w) SELECT n FROM w2",
    "WITH a AS (SELECT id AS b FROM d) SELECT * FROM a",
    "WITH RECURSIVE r (n) AS (SELECT id FROM a UNION ALL SELECT n + b FROM r, a) SELECT n FROM r",
    "SELECT id FROM a UNION SELECT id FROM d ORDER BY id",
    "SELECT id AS b FROM a ORDER BY b",
    "SELECT id AS n FROM a ORDER BY b, c DESC",
    "SELECT count(*) AS n FROM a GROUP BY c HAVING max(b) > 1",
    "SELECT DISTINCT ON (b) id FROM a",
    "SELECT rank() OVER (PARTITION BY b ORDER BY c) FROM a",
    "SELECT sum(id) OVER w FROM a WINDOW w AS (ORDER BY b)",
    "SELECT count(*) FILTER (WHERE c = '') FROM a",
    "SELECT string_agg(c, ',' ORDER BY id) FROM a",
    "SELECT s.n FROM a, LATERAL (SELECT e AS n FROM d WHERE d.id = a.id) AS s",
    "SELECT s.n FROM a CROSS JOIN LATERAL jsonb_to_record('{}'::jsonb) AS s (n integer)",
    "SELECT k FROM d, jsonb_object_keys(f) AS k",
    "SELECT t.n FROM d, unnest(ARRAY[d.id]) WITH ORDINALITY AS t (n, place)",
    "SELECT x.u FROM d, xmltable('/r' PASSING (d.e::xml) COLUMNS u text PATH 'u') AS x",
    "SELECT EXISTS (SELECT FROM d WHERE d.id = a.b) FROM a",
    "SELECT CASE WHEN b = 1 THEN c ELSE coalesce(c, '') END FROM a",
    "SELECT ARRAY(SELECT e FROM d WHERE f ->> 'k' = c) FROM a",
    "SELECT s.* FROM (SELECT * FROM d) AS s",
    "SELECT s.id FROM (SELECT id, e FROM d OFFSET 0) AS s",
    "SELECT id FROM a TABLESAMPLE system (50)",
    "SELECT renamed FROM v",
    "SELECT h FROM g LIMIT (SELECT max(id) FROM d)",
    " UNION ALL ".join(["SELECT e FROM d"] * 300),
    "VALUES ((SELECT max(id) FROM d))",
    "TABLE d",
    "INSERT INTO d (id, e) SELECT id, c FROM a",
    "INSERT INTO d VALUES (1, 'x', NULL) RETURNING id",
    "INSERT INTO g (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET h = excluded.h WHERE g.i = 1",
    "INSERT INTO g AS t (id) VALUES (1) ON CONFLICT DO NOTHING RETURNING t.h AS x",
    'UPDATE a SET c = d.e FROM d WHERE d.id = a.id AND a.b IS NULL RETURNING a."Mixed"',
    "UPDATE a SET (b, c) = (SELECT id, e FROM d WHERE d.id = a.id)",
    "UPDATE a AS q SET b = q.b + 1",
    "DELETE FROM a USING d WHERE d.id = a.id RETURNING c",
    "WITH new AS (INSERT INTO d (id) SELECT id FROM a RETURNING id, e) SELECT e FROM new",
    "WITH gone AS (DELETE FROM d WHERE e = '' RETURNING *) SELECT count(*) FROM gone",
)
TREE = re.compile(
    r"RTEPERMISSIONINFO :relid (\d+) :inh \w+ :requiredPerms (\d+) :checkAsUser (\d+) "
    r":selectedCols \(b([^)]*)\) :insertedCols \(b([^)]*)\) :updatedCols \(b([^)]*)\)"
)
FIRST = -7  # the number of the bit of a row as a whole
BITS = {"INSERT": 1, "SELECT": 2, "UPDATE": 4, "DELETE": 8}


@pytest.fixture(scope="module")
def source(_instances: InstanceFleet) -> Iterator[psycopg.Connection]:
    instance: Instance = _instances[3]
    instance.reset()
    instance.execute(DDL)
    instance.execute("GRANT ALL ON SCHEMA other TO rainbo")
    with instance.connect() as session:
        yield session
    instance.reset()


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:99])
def test_a_query_refers_to_what_the_server_says(source: psycopg.Connection, query: str) -> None:
    parsed = pgparse.parse(query)
    with source.transaction(force_rollback=True), catalog.reading(source) as found:  # type: ignore[arg-type]
        found.load(references.relations(parsed))
        columns = references.read(parsed, found).columns
    assert {key: names for key, names in columns.items() if key[1]} == needed(source, query)


def needed(source: psycopg.Connection, query: str) -> dict[tuple[int, str], set[str]]:
    with logged(source) as told:
        source.execute(b"PREPARE tree AS " + query.encode())
        source.execute("DEALLOCATE tree")
    found: dict[tuple[int, str], set[str]] = {}
    for oid, bits, owner, *sets in TREE.findall(" ".join("".join(told).split())):
        if owner != "0":  # of a view, whose owner it is that needs them
            continue
        rows = source.execute(
            "SELECT attnum, attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0",
            [int(oid)],
        ).fetchall()
        names: dict[int, str] = dict(rows)
        columns = dict(zip(("SELECT", "INSERT", "UPDATE"), map(str.split, sets), strict=True))
        for privilege, bit in BITS.items():
            if int(bits) & bit:
                numbers = {int(one) + FIRST for one in columns.get(privilege, ())}
                all_of_it = names.values() if 0 in numbers else ()
                listed = {names[number] for number in numbers if number > 0}
                found.setdefault((int(oid), privilege), set()).update(listed, all_of_it)
    return found


@contextmanager
def logged(source: psycopg.Connection) -> Iterator[list[str]]:
    """Collect what the server logs of a query: here its tree, views rewritten."""
    told: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        told.append(f"{notice.message_primary} {notice.message_detail}")

    source.execute("SET client_min_messages = log; SET debug_print_rewritten = on")
    source.execute("SET debug_pretty_print = off")
    source.add_notice_handler(hear)
    try:
        yield told
    finally:
        source.remove_notice_handler(hear)
        source.execute("RESET client_min_messages; RESET debug_print_rewritten")
