"""Migration 0019 divides user_routes and unites it: no row moves, no reader loses anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command

from common.errors import RainboError
from tests import emptying
from tests.caches import query

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE, AFTER = "0018", "0019"
ROWS = """
    INSERT INTO user_routes (source_id, email, email_key, remote_instance_id, on_master,
                             remote_tenant_id, remote_user_id, user_name, changed_at)
    SELECT n::text, n || '@b.c', n || '@b.c', '1', false, '2', n::text, 'Ann ' || n, now()
      FROM generate_series(1, %s) AS n"""
GRANTED = """
    GRANT SELECT ON user_routes TO PUBLIC;
    GRANT SELECT ON user_routes TO pg_monitor WITH GRANT OPTION;
    GRANT UPDATE (status) ON user_routes TO pg_monitor;
    GRANT SELECT ON user_email_routing_cache TO pg_monitor;
    CREATE VIEW of_ours WITH (security_barrier=true) AS SELECT email FROM user_routes;
    GRANT SELECT ON of_ours TO pg_monitor;
    CREATE INDEX own ON user_routes (status)"""
COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), attnotnull, attcollation, attacl::text
      FROM pg_attribute WHERE attrelid = 'user_routes'::regclass AND attnum > 0 ORDER BY attnum"""
READERS = """
    SELECT relname, relacl::text, reloptions, relowner::regrole::text, pg_get_viewdef(oid)
      FROM pg_class
     WHERE relkind = 'v' AND relname IN ('user_email_routing_cache', 'of_ours', 'routes')
    UNION ALL
    SELECT relname, relacl::text, NULL, relowner::regrole::text, NULL
      FROM pg_class WHERE relname = 'user_routes' ORDER BY 1"""
INDEXES = """
    SELECT relname, replace(pg_get_indexdef(indexrelid), 'ON ONLY', 'ON'), indisprimary, indisvalid
      FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
     WHERE indrelid = 'user_routes'::regclass ORDER BY 1"""
FILES = """
    SELECT relfilenode FROM pg_class
     WHERE oid = to_regclass('{0}')
        OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = to_regclass('{0}'))
     ORDER BY 1"""
PARTITION = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{}'::regclass"


@pytest.fixture(autouse=True)
def divided() -> Iterator[None]:
    query("DROP TABLE user_routes_all")
    yield
    call_command("migrate", "tenants", verbosity=0)
    query("DROP VIEW IF EXISTS of_ours, of_others")
    query("DROP INDEX IF EXISTS own")
    query("REVOKE ALL ON user_routes FROM PUBLIC, pg_monitor")
    query("REVOKE UPDATE (status) ON user_routes FROM pg_monitor")
    emptying.store_routes()


def migrate(to: str) -> None:
    call_command("migrate", "tenants", to, verbosity=0)


def facts() -> list[list[tuple[Any, ...]]]:
    return [query(statement) for statement in (COLUMNS, READERS, INDEXES)]


@pytest.mark.parametrize("rows", [0, 20])
def test_there_and_back(rows: int) -> None:
    migrate(BEFORE)
    query(ROWS, rows)
    query(GRANTED)
    query("ANALYZE user_routes")
    before, files = facts(), query(FILES.format("user_routes"))
    options = "SELECT reloptions FROM pg_class WHERE relname = '{}'"
    assert query(options.format("user_routes")) == [(["autovacuum_vacuum_scale_factor=0.05"],)]
    where = query("SELECT xmin::text, ctid::text FROM user_routes")

    migrate(AFTER)
    assert facts() == before
    assert query(PARTITION.format("user_routes")) == [("user_routes_all",)] * bool(rows)
    assert query("SELECT count(*) FROM of_ours") == [(rows,)]
    assert query("SELECT count(*) FROM user_email_routing_cache") == [(rows,)]
    if rows:
        assert query(FILES.format("user_routes_all")) == files
        assert query("SELECT xmin::text, ctid::text FROM user_routes") == where
        assert query("SELECT has_table_privilege('pg_monitor', 'user_routes_all', 'SELECT')") == [
            (False,)
        ]
        assert query(options.replace("reloptions", "reltuples").format("user_routes")) == [(rows,)]
        assert query(options.format("user_routes_all")) == [
            (["autovacuum_vacuum_scale_factor=0.05"],)
        ]

    migrate(BEFORE)
    assert facts() == before
    assert query(options.format("user_routes")) == [(["autovacuum_vacuum_scale_factor=0.05"],)]
    assert query("SELECT to_regclass('user_routes_all')") == [(None,)]
    assert query("SELECT count(*) FROM of_ours") == [(rows,)]
    if rows:
        assert query(FILES.format("user_routes")) == files
    else:
        query(ROWS, 3)
        assert query("SELECT count(*) FROM of_ours") == [(3,)]


def test_what_an_empty_table_is_read_by_and_can_not_be_replaced_keeps_it(
    postgres_superuser: Any,
) -> None:
    migrate(BEFORE)
    postgres_superuser.execute("CREATE VIEW of_others AS SELECT email FROM user_routes")
    migrate(AFTER)
    assert query(PARTITION.format("user_routes")) == [("user_routes_all",)]
    query(ROWS, 3)
    assert postgres_superuser.execute("SELECT count(*) FROM of_others").fetchone() == (3,)
    postgres_superuser.execute("DROP VIEW of_others")


@pytest.fixture
def publish(postgres_superuser: Any) -> Iterator[Callable[[str], None]]:
    """Makes the publication `copies` of what is given."""
    yield lambda what: postgres_superuser.execute(f"CREATE PUBLICATION copies FOR {what}")
    postgres_superuser.execute("DROP PUBLICATION IF EXISTS copies")


PUBLISHED = "SELECT tablename FROM pg_publication_tables WHERE pubname = 'copies' ORDER BY 1"


@pytest.mark.parametrize(
    ("what", "advised"),
    [
        ("TABLE user_routes", "DROP TABLE user_routes"),
        ("ALL TABLES", "SET (publish_via_partition_root = true)"),
        ("TABLES IN SCHEMA public", "SET (publish_via_partition_root = true)"),
    ],
    ids=["listed", "database", "schema"],
)
@pytest.mark.parametrize(("held", "to"), [(BEFORE, AFTER), (AFTER, BEFORE)], ids=["there", "back"])
def test_what_replicates_it_is_refused_until_it_can_go_on(
    what: str, advised: str, held: str, to: str, postgres_superuser: Any, publish: Any
) -> None:
    if "SCHEMA" in what and postgres_superuser.info.server_version < 150000:
        pytest.skip("PostgreSQL 14 publishes no schemas")
    migrate(BEFORE)
    query(ROWS, 3)
    migrate(held)
    publish(what)
    before, published = facts(), query(PUBLISHED)
    with pytest.raises(RainboError, match=re.escape(f"ALTER PUBLICATION copies {advised}")):
        migrate(to)
    assert (facts(), query(PUBLISHED)) == (before, published)
    postgres_superuser.execute(f"ALTER PUBLICATION copies {advised}")
    migrate(to)
    if advised.startswith("SET"):
        names = {name for (name,) in query(PUBLISHED)}
        assert "user_routes" in names
        assert "user_routes_all" not in names


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_what_others_made_of_it_is_named_before_it_is_taken_back(
    kind: str, postgres_superuser: Any
) -> None:
    emptying.store_routes()
    query(ROWS, 3)
    postgres_superuser.execute(f"CREATE {kind} of_others AS SELECT email FROM user_routes")
    before = facts()
    with pytest.raises(RainboError, match=f": {kind.lower()} of_others\\. Have their owners drop"):
        migrate(BEFORE)
    assert facts() == before
    postgres_superuser.execute(f"DROP {kind} of_others")
    migrate(BEFORE)
    assert query("SELECT count(*) FROM user_routes") == [(3,)]


@pytest.fixture
def postgres_superuser(postgres_servers: Any) -> Iterator[Any]:
    from django.db import connection

    with postgres_servers["rainbo"].connect(str(connection.settings_dict["NAME"])) as session:
        yield session
