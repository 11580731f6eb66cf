"""A count that proves the directory unchanged, and each condition that the proof rests on.

Where a condition can be dropped in a line, the test drops it too, and shows that other rows are
then called unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from syncs.transfer import unchanged
from syncs.transfer.copy_stream import Probed
from tests.instances import Instance, InstanceFleet
from tests.tenants.routes.directory_views import (
    compare,
    directory_query,
    is_called_unchanged,
    see,
    snapshot,
)

FILL = """
    INSERT INTO {} (id, email, tenant_id, user_id, user_name, status)
    SELECT n, 'user' || n || '@example.com', n, n, 'User ' || n, 'Active'
      FROM generate_series(1, {}) AS n"""
ANOTHER = """
    INSERT INTO user_email_routing (id, email, tenant_id, user_id)
    VALUES ({0}, 'new{0}@example.com', 1, 1)"""
INSTEAD = f"{ANOTHER.format(500)}; DELETE FROM user_email_routing WHERE id = 7"

Drop = Callable[..., None]


def fill(source: Instance, table: str = "user_email_routing", rows: int = 20) -> None:
    source.execute(FILL.format(table, rows))
    source.execute(f"GRANT SELECT ON {table} TO rainbo")


@pytest.fixture
def source(fleet: InstanceFleet) -> Instance:
    """Twenty routes. What commits is on disk at once."""
    fill(fleet.master)
    return flushed(fleet.master)


def flushed(source: Instance) -> Instance:
    """Its log is on disk, with all that the next session to read the directory would add to it."""
    for _ in range(10):
        source.execute(
            "SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'flush', 'now')"
        )
        seen = see(source)
        if seen.view is None or seen.is_on_disk:
            return source
    raise AssertionError("each look adds to the log")


@pytest.fixture
def drop(monkeypatch: pytest.MonkeyPatch) -> Drop:
    """Drop conditions: marks by their name, reasons to refuse a table by their first words."""

    def dropped(*conditions: str) -> None:
        for one in conditions:
            if one in unchanged.MARKS:
                kept = tuple(mark for mark in unchanged.MARKS if mark != one)
                monkeypatch.setattr(unchanged, "MARKS", kept)
            else:
                assert unchanged._LOOK.count(f"THEN '{one}") == 1
                looser = unchanged._LOOK.replace(f"THEN '{one}", f"AND false THEN '{one}")
                monkeypatch.setattr(unchanged, "_LOOK", looser)

    return dropped


def test_rows_that_nobody_touched_are_unchanged(source: Instance) -> None:
    before = see(source)
    assert before.is_on_disk
    source.execute("CREATE TABLE elsewhere AS SELECT 1 AS one")
    source.execute("SELECT * FROM user_email_routing FOR UPDATE")
    source.execute("CREATE INDEX ON user_email_routing (status); ANALYZE user_email_routing")
    assert is_called_unchanged(source, before)


CHANGES = {
    "insert": ANOTHER.format(500),
    "delete": "DELETE FROM user_email_routing WHERE id = 7",
    "insert and delete": INSTEAD,
    "update": "UPDATE user_email_routing SET status = 'x' WHERE id = 7",
    "update to the same": "UPDATE user_email_routing SET status = status WHERE id = 7",
    "the same row again": "WITH gone AS (DELETE FROM user_email_routing WHERE id = 7 RETURNING *) "
    "INSERT INTO user_email_routing SELECT 70, email FROM gone",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_written_is_seen(source: Instance, change: str) -> None:
    before = see(source)
    source.execute(CHANGES[change])
    assert not is_called_unchanged(source, before)
    assert is_called_unchanged(source, see(source))


@pytest.mark.parametrize("way", ["transaction", "subtransaction", "prepared"])
def test_a_transaction_in_progress_at_the_snapshot(
    extra_instance: Callable[..., Instance], extra_server: Callable[..., object], way: str
) -> None:
    """It commits later; the boundary is the snapshot's xmin, which is not above it."""
    server = extra_server("busy", options={"max_prepared_transactions": "5"})
    source = extra_instance(4, server=server, master=True)
    fill(source)
    with source.connect(autocommit=False) as writer:
        writer.execute("SELECT pg_current_xact_id()")
        if way == "subtransaction":
            writer.execute("SAVEPOINT part")
        writer.execute(INSTEAD)
        if way == "subtransaction":
            writer.execute("RELEASE part")
        if way == "prepared":
            writer.execute("PREPARE TRANSACTION 'one'")
        source.execute("CREATE TABLE of_another_transaction (); DROP TABLE of_another_transaction")
        before = see(flushed(source))
        if way == "prepared":
            source.execute("COMMIT PREPARED 'one'")
        else:
            writer.commit()
    assert not is_called_unchanged(source, before)
    assert before.view
    assert before.view.xmin < before.view.xmax
    by_xmax = replace(before.earlier, xmin=before.view.xmax)
    why, rows = compare(source, by_xmax)
    assert (why, rows != before.rows) == ("", True)


def test_frozen_rows_keep_their_number(source: Instance) -> None:
    before = see(source)
    source.execute("VACUUM (FREEZE) user_email_routing")
    assert is_called_unchanged(source, before)
    source.execute("UPDATE user_email_routing SET status = 'x' WHERE id = 7")
    source.execute("VACUUM (FREEZE) user_email_routing")
    assert not is_called_unchanged(source, before)


@pytest.mark.parametrize("mark", unchanged.MARKS)
def test_each_mark_counts(mark: str) -> None:
    found = dict.fromkeys(unchanged.MARKS, "same")
    assert unchanged._hash(found) != unchanged._hash(found | {mark: "other"})


def test_a_view_of_an_earlier_moment(source: Instance) -> None:
    now = see(source)
    assert now.view
    for later in (
        replace(now.earlier, xmin=now.view.xmin + 1),
        replace(now.earlier, lsn=now.view.lsn + 1),
    ):
        assert later.why_not(now.view) == "the server went back in time"
    assert replace(now.earlier, rows=-1).why_not(now.view) == ""


def test_too_many_transactions(source: Instance) -> None:
    """From half the circle away, what is new would look old."""
    before = see(source)
    assert before.view
    source.execute(INSTEAD)
    far = replace(before.earlier, xmin=before.view.xmin - unchanged.FAR)
    assert compare(source, far)[0] == "too many transactions came between"
    opposite = replace(before.earlier, xmin=before.view.xmin - 2 * unchanged.FAR - 100)
    with snapshot(source) as session:
        found = unchanged.count(session, before.view, opposite, lambda: None)
    assert found == unchanged.Found(rows=20, newer=0, others=0)


REWRITTEN = {
    "VACUUM FULL": "VACUUM FULL user_email_routing",
    "CLUSTER": "CLUSTER user_email_routing USING user_email_routing_pkey",
    "truncated": "CREATE TEMP TABLE kept AS TABLE user_email_routing; TRUNCATE user_email_routing; "
    "INSERT INTO user_email_routing SELECT * FROM kept",
    "rewritten": "ALTER TABLE user_email_routing ALTER status TYPE text USING status || ''",
    "unlogged and back": "ALTER TABLE user_email_routing SET UNLOGGED; "
    "ALTER TABLE user_email_routing SET LOGGED",
}


@pytest.mark.parametrize("way", REWRITTEN)
def test_other_files_of_the_table(source: Instance, way: str) -> None:
    before = see(source)
    source.execute(REWRITTEN[way])
    assert not is_called_unchanged(source, before)


def test_rows_copied_as_frozen(source: Instance) -> None:
    before = see(source)
    with source.connect(autocommit=False) as writer:
        writer.execute("TRUNCATE user_email_routing")
        with writer.cursor().copy("COPY user_email_routing (id, email) FROM STDIN FREEZE") as copy:
            for number in range(20):
                copy.write_row((number, "x"))
        writer.commit()
    assert not is_called_unchanged(source, before)
    assert is_called_unchanged(source, see(flushed(source)))


@pytest.mark.parametrize("dropped", ["", "files"])
def test_a_table_switched_by_a_rename(source: Instance, drop: Drop, dropped: str) -> None:
    source.execute("CREATE TABLE other (LIKE user_email_routing INCLUDING ALL)")
    fill(source, "other")
    source.execute("UPDATE other SET status = 'x'")
    source.execute("VACUUM FREEZE other")
    drop(*filter(None, [dropped]), *["attributes"] * bool(dropped))
    before = see(source)
    source.execute(
        "BEGIN; ALTER TABLE user_email_routing RENAME TO former; "
        "ALTER TABLE other RENAME TO user_email_routing; COMMIT"
    )
    why, rows = compare(source, before.earlier)
    assert rows != before.rows
    assert bool(why) != bool(dropped)


PARTED = """
    DROP TABLE user_email_routing;
    CREATE TABLE user_email_routing (
        id bigint, email text, tenant_id bigint, rds_instance_id integer, user_id bigint,
        user_name text, status text, updated_at timestamptz) PARTITION BY RANGE (id);
    CREATE TABLE low PARTITION OF user_email_routing FOR VALUES FROM (0) TO (10);
    CREATE TABLE high PARTITION OF user_email_routing FOR VALUES FROM (10) TO (100);
    CREATE TABLE spare (LIKE user_email_routing);
    GRANT SELECT ON user_email_routing TO rainbo"""


@pytest.fixture
def parted(fleet: InstanceFleet) -> Instance:
    """Twenty routes in two partitions, and eleven others in a table like them."""
    fleet.master.execute(PARTED)
    fill(fleet.master)
    fill(fleet.master, "spare")
    fleet.master.execute("UPDATE spare SET status = 'x'; DELETE FROM spare WHERE id < 10")
    return flushed(fleet.master)


def test_partitions_of_tables(parted: Instance) -> None:
    before = see(parted)
    assert is_called_unchanged(parted, before)
    parted.execute("UPDATE user_email_routing SET id = id + 1 WHERE id = 9")
    assert not is_called_unchanged(parted, before)


@pytest.mark.parametrize("dropped", [(), ("files", "attributes")])
def test_a_partition_in_place_of_another(
    parted: Instance, drop: Drop, dropped: tuple[str, ...]
) -> None:
    drop(*dropped)
    before = see(parted)
    parted.execute(
        "ALTER TABLE user_email_routing DETACH PARTITION high; "
        "ALTER TABLE user_email_routing ATTACH PARTITION spare FOR VALUES FROM (10) TO (100)"
    )
    why, rows = compare(parted, before.earlier)
    assert rows != before.rows
    assert bool(why) != bool(dropped)


def test_a_partition_that_comes_after_the_look(parted: Instance) -> None:
    """As many rows are gone as it brings."""
    parted.execute("UPDATE spare SET id = id + 100")
    parted.execute("INSERT INTO low SELECT 1 FROM generate_series(1, 11)")
    before = see(flushed(parted))
    parted.execute("DELETE FROM low WHERE email IS NULL")

    def attach() -> None:
        parted.execute(
            "ALTER TABLE user_email_routing ATTACH PARTITION spare FOR VALUES FROM (110) TO (200)"
        )

    why, rows = compare(parted, before.earlier, meanwhile=attach)
    assert (why, len(rows)) == ("another table was read", len(before.rows))
    assert rows != before.rows


QUERIES = {
    "condition": "SELECT * FROM user_email_routing WHERE status <> 'x'",
    "join": "SELECT u.* FROM user_email_routing AS u JOIN only_one ON true",
    "second table": "SELECT user_email_routing.* FROM user_email_routing, only_one",
    "expression": "SELECT id, lower(email) AS email, tenant_id, rds_instance_id, user_id, "
    "user_name, status, updated_at FROM user_email_routing",
    "cast": "SELECT id, email, tenant_id, rds_instance_id, user_id, user_name, status::text, "
    "updated_at FROM user_email_routing",
    "keyword": "SELECT id, email, tenant_id, rds_instance_id, user_id, current_user AS user_name, "
    "status, updated_at FROM user_email_routing",
    "distinct": "SELECT DISTINCT * FROM user_email_routing",
    "limit": "SELECT * FROM user_email_routing LIMIT 5",
    "sample": "SELECT * FROM user_email_routing TABLESAMPLE system (50)",
    "set": "TABLE user_email_routing",
    "union": "SELECT * FROM user_email_routing UNION SELECT * FROM user_email_routing",
    "view": "SELECT * FROM a_view",
    "materialized view": "SELECT * FROM a_materialized_view",
    "hidden in a comment": 'SELECT id, id AS "--", email, tenant_id, rds_instance_id, user_id, '
    "user_name, status, updated_at, generate_series(1, 2) FROM user_email_routing",
}


@pytest.mark.parametrize("form", QUERIES)
def test_other_queries(source: Instance, form: str) -> None:
    source.execute(
        "CREATE TABLE only_one (); INSERT INTO only_one DEFAULT VALUES; "
        "CREATE VIEW a_view AS TABLE user_email_routing; "
        "CREATE MATERIALIZED VIEW a_materialized_view AS TABLE user_email_routing; "
        "GRANT SELECT ON only_one, a_view, a_materialized_view TO rainbo"
    )
    seen = see(source, directory_query(QUERIES[form]))
    assert (seen.view, bool(seen.why)) == (None, True)


PLAIN = {
    "all": "SELECT * FROM public.user_email_routing",
    "comments and quotes": 'select user_name, Id, "email", tenant_id, rds_instance_id, user_id, '
    "status, -- x\nupdated_at FROM user_email_routing -- the directory\n",
    "renamed": "SELECT id, email, tenant_id, rds_instance_id, user_id, status AS user_name, "
    "user_name AS status, updated_at FROM user_email_routing",
}


@pytest.mark.parametrize("form", PLAIN)
def test_queries_that_are_columns_of_one_table(source: Instance, form: str) -> None:
    query = directory_query(PLAIN[form])
    before = see(source, query)
    assert is_called_unchanged(source, before, query)
    assert len({row[:8] for row in before.rows}) == 20


TABLES = {
    "the table has children": "CREATE TABLE child () INHERITS (user_email_routing)",
    "the table is not a permanent one": "ALTER TABLE user_email_routing SET UNLOGGED",
    "the table has row security": "ALTER TABLE user_email_routing ENABLE ROW LEVEL SECURITY; "
    "ALTER TABLE user_email_routing OWNER TO rainbo",
    "the role may not read all columns of the table": "REVOKE SELECT ON user_email_routing FROM "
    "rainbo; GRANT SELECT (id, email, tenant_id, rds_instance_id, user_id, user_name, status, "
    "updated_at) ON user_email_routing TO rainbo",
    "pg_catalog does not come first on the role's search path": "ALTER ROLE rainbo SET "
    "search_path = public, pg_catalog",
    "rows may be on other servers": "SET allow_system_table_mods = on; INSERT INTO pg_extension "
    "(oid, extname, extowner, extnamespace, extrelocatable, extversion) "
    "VALUES (16000, 'citus', 10, 2200, false, '1')",
    "a column has a type whose values may read otherwise": "CREATE DOMAIN word AS text; "
    "ALTER TABLE user_email_routing ALTER status TYPE word",
}


@pytest.mark.parametrize("why", TABLES)
def test_other_tables(source: Instance, why: str) -> None:
    source.execute(TABLES[why])
    seen = see(source)
    source.execute(
        "SET allow_system_table_mods = on; DELETE FROM pg_extension WHERE extname = 'citus'"
    )
    assert seen.why == why


@pytest.mark.parametrize("dropped", [(), ("the table has children",)])
def test_a_table_with_children(source: Instance, drop: Drop, dropped: tuple[str, ...]) -> None:
    """Without the condition, those of the children would not even be counted: never unchanged."""
    drop(*dropped)
    source.execute("CREATE TABLE child () INHERITS (user_email_routing)")
    fill(source, "child", 5)
    seen = see(flushed(source))
    assert len(seen.rows) == 25
    assert not dropped or not is_called_unchanged(source, seen)


def test_a_foreign_table_among_the_partitions(parted: Instance) -> None:
    parted.execute(
        "CREATE FOREIGN DATA WRAPPER none; CREATE SERVER far FOREIGN DATA WRAPPER none; "
        "CREATE FOREIGN TABLE abroad PARTITION OF user_email_routing FOR VALUES FROM (100) TO "
        "(200) SERVER far"
    )
    with snapshot(parted) as session:
        ((table,),) = session.execute("SELECT 'user_email_routing'::regclass::oid::int").fetchall()
        names = [column.name for column in directory_query().columns]
        origins = {name: (table, number) for number, name in enumerate(names, 1)}
        probed = Probed({}, (), origins)
        with pytest.raises(unchanged.NotComparable, match="not those of a table alone"):
            unchanged.look(session, directory_query(), probed)


COLUMNS = {
    "exchanged": "ALTER TABLE user_email_routing RENAME user_name TO between; "
    "ALTER TABLE user_email_routing RENAME status TO user_name; "
    "ALTER TABLE user_email_routing RENAME between TO status",
    "dropped and added": "ALTER TABLE user_email_routing DROP status; "
    "ALTER TABLE user_email_routing ADD status text DEFAULT 'Inactive'",
}


@pytest.mark.parametrize("dropped", [(), ("read", "attributes")])
@pytest.mark.parametrize("change", COLUMNS)
def test_other_columns(source: Instance, drop: Drop, change: str, dropped: tuple[str, ...]) -> None:
    drop(*dropped)
    before = see(source)
    source.execute(COLUMNS[change])
    why, rows = compare(source, before.earlier)
    assert rows != before.rows
    assert bool(why) != bool(dropped)


@pytest.mark.parametrize("dropped", [(), ("the table has virtual columns", "attributes")])
def test_virtual_columns(source: Instance, drop: Drop, dropped: tuple[str, ...]) -> None:
    if source.execute("SELECT current_setting('server_version_num')::int < 180000") == [(True,)]:
        return  # it has none
    source.execute(
        "ALTER TABLE user_email_routing DROP status; ALTER TABLE user_email_routing "
        "ADD status text GENERATED ALWAYS AS (lower(email)) VIRTUAL"
    )
    drop(*dropped)
    before = see(flushed(source))
    assert bool(before.view) == bool(dropped)
    if dropped:
        source.execute(
            "ALTER TABLE user_email_routing ALTER status SET EXPRESSION AS (upper(email))"
        )
        why, rows = compare(source, before.earlier)
        assert (why, rows != before.rows) == ("", True)


@pytest.mark.parametrize("dropped", [(), ("functions", "attributes")])
def test_replaced_functions(source: Instance, drop: Drop, dropped: tuple[str, ...]) -> None:
    source.execute("ALTER TABLE user_email_routing ALTER status TYPE char(20)")
    drop(*dropped)
    before = see(flushed(source))
    source.execute(
        "CREATE OR REPLACE FUNCTION pg_catalog.text(character) RETURNS text LANGUAGE sql "
        "IMMUTABLE AS $$SELECT 'x'::text$$"
    )
    why, rows = compare(source, before.earlier)
    assert rows != before.rows
    assert bool(why) != bool(dropped)


@pytest.mark.parametrize("dropped", [(), ("types of columns have casts", "functions")])
def test_casts(source: Instance, drop: Drop, dropped: tuple[str, ...]) -> None:
    drop(*dropped)
    before = see(source)
    source.execute(
        "CREATE FUNCTION shown(bigint) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$; "
        "CREATE CAST (bigint AS text) WITH FUNCTION shown(bigint)"
    )
    why, rows = compare(source, before.earlier)
    assert rows != before.rows
    assert bool(why) != bool(dropped)


def test_settings_of_the_role(source: Instance) -> None:
    """What decides how values read is pinned."""
    source.execute("ALTER TABLE user_email_routing ALTER id TYPE numeric, ALTER status TYPE name")
    source.execute("UPDATE user_email_routing SET updated_at = now()")
    before = see(flushed(source))
    for name, value in {
        "DateStyle": "German, DMY",
        "TimeZone": "Asia/Tokyo",
        "IntervalStyle": "iso_8601",
        "bytea_output": "escape",
        "extra_float_digits": "-15",
        "lc_numeric": "C",
        "lc_time": "C",
        "quote_all_identifiers": "on",
    }.items():
        source.execute(f"ALTER ROLE rainbo SET {name} = '{value}'")
    assert is_called_unchanged(source, before)


def test_functions_that_a_service_took_away(source: Instance) -> None:
    source.execute("REVOKE EXECUTE ON FUNCTION pg_current_wal_insert_lsn() FROM PUBLIC")
    seen = see(source)
    assert "permission denied for function pg_current_wal_insert_lsn" in seen.why
    assert len(seen.rows) == 20
