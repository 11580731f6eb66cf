"""A table that is emptied and filled again, or replaced, while it is about to be read.

To a snapshot taken before, it is empty: 2,000 users would be published as none, and every digest of
the same snapshot would agree. Another session holds the replacement uncommitted, and commits once
RAINBO waits for its lock: the window is certain.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pytest_django import Settings

from syncs.models import RunState
from syncs.transfer import copy_stream, snapshot_check
from syncs.transfer.snapshot_check import TablesReplaced
from tenants.find import live_lookup, lookup
from tenants.fleet import connections, contract, transactions
from tenants.models import RdsInstance, Tenant
from tenants.summaries import live_tenant
from tests.caches import part, query, run_sync, shown_emails
from tests.children import until
from tests.instances import Instance, InstanceFleet

WAITS = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE NOT granted AND usename = 'rainbo'"""
REFILL_USERS = """
    CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE users;
    TRUNCATE users;
    INSERT INTO users SELECT * FROM kept"""
REPLACE_USERS = """
    CREATE TABLE new_users (LIKE users INCLUDING ALL);
    INSERT INTO new_users SELECT * FROM users;
    DROP TABLE users;
    ALTER TABLE new_users RENAME TO users;
    GRANT SELECT (id, tenant_id, email, name, status, is_ghost_admin, rainbo_admin_id,
                  rainbo_installation, last_login_at) ON users TO rainbo"""
REWRITE_USERS = "ALTER TABLE users ALTER name TYPE varchar(99) USING name || ''"
REFILL_LOCATIONS = REFILL_USERS.replace("users", "locations")
REFILL_TENANTS = REFILL_USERS.replace("users", "tenants")
REFILL_DIRECTORY = REFILL_USERS.replace("users", "user_email_routing")


@pytest.fixture
def filled(registered: InstanceFleet) -> InstanceFleet:
    """Each instance has five tenants with eight users and two locations each."""
    for instance in registered.instances:
        for tenant in range(1, 6):
            instance.add_tenant(tenant)
            instance.add_location(2 * tenant, tenant)
            instance.add_location(2 * tenant + 1, tenant)
            for user in range(10 * tenant, 10 * tenant + 8):
                instance.add_user(user, tenant, f"u{user}@example.com")
    for user in range(10, 18):
        registered.master.add_route(user, f"u{user}@example.com")
    return registered


@contextmanager
def replacing(instance: Instance, statement: str) -> Iterator[None]:
    """Hold a replacement uncommitted until RAINBO waits for it, then commit."""
    with instance.connect(autocommit=False) as holder:
        holder.execute(statement.encode())

        def commit() -> None:
            until(lambda: instance.execute(WAITS) != [(0,)])
            holder.commit()

        thread = threading.Thread(target=commit)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def counted(instance: int) -> list[tuple[int | None, int | None]]:
    return query(
        "SELECT user_count, location_count FROM tenant_master WHERE instance_id = %s", instance
    )


@pytest.mark.parametrize(
    "statement",
    [REFILL_USERS, REPLACE_USERS, REWRITE_USERS, REFILL_LOCATIONS, REFILL_TENANTS],
    ids=["refilled", "replaced", "rewritten", "whole grant", "the id's own table"],
)
def test_tenants_are_counted_in_the_new_table(filled: InstanceFleet, statement: str) -> None:
    with replacing(filled[2], statement):
        run = run_sync("tenant_summaries")
    assert run.state == RunState.SUCCEEDED
    assert counted(2) == [(8, 2)] * 5


def test_nobody_can_replace_a_table_between_its_probe_and_its_read(
    filled: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[type[psycopg.Error] | None] = []
    rows = copy_stream.all_rows

    def with_a_truncate_before(*args: object, **kinds: object) -> object:
        with filled[2].connect() as other:
            other.execute("SET lock_timeout = '200ms'")
            try:
                other.execute("TRUNCATE users")
                tried.append(None)
            except psycopg.errors.LockNotAvailable as error:
                tried.append(type(error))
        return rows(*args, **kinds)  # type: ignore[arg-type]

    monkeypatch.setattr(copy_stream, "all_rows", with_a_truncate_before)
    run = run_sync("tenant_summaries", targets=("2",))
    assert (run.state, tried) == (RunState.SUCCEEDED, [psycopg.errors.LockNotAvailable])
    assert counted(2) == [(8, 2)] * 5


@pytest.mark.parametrize("again", [False, True], ids=["whole", "by difference"])
def test_routes_are_read_from_the_new_table(filled: InstanceFleet, *, again: bool) -> None:
    if again:
        run_sync("user_routing")
    with replacing(filled.master, REFILL_DIRECTORY):
        run = run_sync("user_routing")
    assert run.state == RunState.SUCCEEDED
    assert len(shown_emails()) == 8


def test_a_materialized_view_is_read_as_it_is_refreshed(
    filled: InstanceFleet, own_sql: Callable[[str, str], None]
) -> None:
    filled.master.execute(
        "CREATE TABLE accounts AS TABLE user_email_routing WITH NO DATA;"
        "CREATE MATERIALIZED VIEW directory AS TABLE accounts;"
        "GRANT SELECT ON directory TO rainbo;"
        "INSERT INTO accounts TABLE user_email_routing"
    )
    own_sql("sync_user_routing", "SELECT * FROM directory")
    with replacing(filled.master, "REFRESH MATERIALIZED VIEW directory"):
        run = run_sync("user_routing")
    assert run.state == RunState.SUCCEEDED
    assert len(shown_emails()) == 8


def test_a_partition_is_read_as_it_is(
    filled: InstanceFleet, own_sql: Callable[[str, str], None]
) -> None:
    filled.master.execute(
        "CREATE TABLE parts (LIKE user_email_routing) PARTITION BY RANGE (id);"
        "CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (14);"
        "CREATE TABLE high PARTITION OF parts FOR VALUES FROM (14) TO (99);"
        "INSERT INTO parts SELECT * FROM user_email_routing;"
        "GRANT SELECT ON parts TO rainbo"
    )
    own_sql("sync_user_routing", "SELECT * FROM parts")
    with replacing(filled.master, REFILL_USERS.replace("users", "high")):
        run = run_sync("user_routing")
    assert run.state == RunState.SUCCEEDED
    assert len(shown_emails()) == 8


def test_what_a_function_reads_is_checked_after_the_read(
    filled: InstanceFleet, own_sql: Callable[[str, str], None]
) -> None:
    filled[2].execute(
        "CREATE FUNCTION places(bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS "
        "'BEGIN RETURN (SELECT count(*) FROM locations WHERE tenant_id = $1); END'"
    )
    statement = contract.text("sync_tenant_summaries")
    own_sql(
        "sync_tenant_summaries",
        statement.replace("coalesce(places.places, 0)", "places(tenants.id)").replace(
            statement[statement.index("  LEFT JOIN (\n        SELECT tenant_id, count(*) AS pl") :],
            "",
        ),
    )
    with replacing(filled[2], REFILL_LOCATIONS):
        run = run_sync("tenant_summaries", targets=("2",))
    assert (run.state, counted(2)) == (RunState.FAILED, [])
    found = part(run, 2)
    assert found.error_kind == "replaced"
    assert found.passing
    assert "public.locations" in found.error


def test_a_live_look_up_reads_the_new_table(filled: InstanceFleet) -> None:
    run_sync("user_routing")
    with replacing(filled.master, REFILL_DIRECTORY):
        found = live_lookup.ask(lookup.find("u11@example.com"))
    assert [route.email for route in found.master.rows] == ["u11@example.com"]
    with replacing(filled.master, REFILL_USERS):
        found = live_lookup.ask(lookup.find("u11@example.com"))
    assert [user.email for user in found.instances["1"].rows] == ["u11@example.com"]


def test_a_live_tenant_is_read_from_the_new_table(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    with replacing(filled[2], REFILL_USERS):
        live = live_tenant.read(Tenant.objects.get(instance_id=2, remote_id="3"))
    assert live.row is not None
    assert live.row["user_count"] == 8


def test_what_is_read_after_an_only_row_is_checked(filled: InstanceFleet) -> None:
    def act(_: object) -> None:
        assert snapshot_check.only_row(source, sql.SQL("SELECT 7")) == ((7,), ())
        filled[2].execute("TRUNCATE users")
        source.execute("SELECT count(*) FROM users")

    with (
        connections._entered(RdsInstance.objects.get(pk=2), "test") as source,
        pytest.raises(TablesReplaced, match=r"public\.users"),
    ):
        transactions.read_settled(source, act)


def test_an_only_row_of_a_replaced_table_is_none(filled: InstanceFleet) -> None:
    with connections.connect(RdsInstance.objects.get(pk=2), "test") as source:
        filled[2].execute("TRUNCATE users")
        with pytest.raises(TablesReplaced, match=r"public\.users"):
            snapshot_check.only_row(source, sql.SQL("SELECT count(*) FROM users"))


def test_tables_are_locked_before_the_second_snapshot(filled: InstanceFleet) -> None:
    taken: list[list[str]] = []

    def act(_: object) -> None:
        taken.append(snapshot_check._names(source, snapshot_check._LOCKABLE))
        if len(taken) == 1:
            copy_stream.probe(source, contract.query("sync_tenant_summaries"))
            raise TablesReplaced(["public.users"], ["public.locations", "public.tenants"])

    row = RdsInstance.objects.get(pk=2)
    with connections._entered(row, "test") as source:
        transactions.read_settled(source, act)
    assert taken == [[], ["public.locations", "public.tenants"]]


def test_tables_that_are_replaced_again_and_again_are_told(filled: InstanceFleet) -> None:
    tries: list[object] = []

    def act(_: object) -> None:
        tries.append(None)
        raise TablesReplaced(["public.users"], [])

    row = RdsInstance.objects.get(pk=2)
    with (
        connections._entered(row, "test") as source,
        pytest.raises(TablesReplaced, match=r"public\.users"),
    ):
        transactions.read_settled(source, act)
    assert len(tries) == transactions.TRIES


def test_an_index_that_is_built_meanwhile_is_no_replacement(filled: InstanceFleet) -> None:
    with connections.connect(RdsInstance.objects.get(pk=2), "test") as source:
        filled[2].execute("CREATE INDEX new_index ON users (name)")
        copy_stream.probe(source, contract.query("sync_tenant_summaries"))


@pytest.fixture
def own_sql(tmp_path: Path, settings: Settings) -> Callable[[str, str], None]:
    """Writes a query of this installation."""
    settings.RAINBO_SOURCE_SQL = tmp_path

    def write(name: str, statement: str) -> None:
        (tmp_path / f"{name}.sql").write_text(statement, encoding="utf-8")

    return write
