"""Migration 0019 divides user_routes and unites it: no row moves, no reader loses anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command

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
def postgres_superuser(postgres_servers: Any) -> Iterator[Any]:
    from django.db import connection

    with postgres_servers["rainbo"].connect(str(connection.settings_dict["NAME"])) as session:
        yield session
