"""A role for SQL readers has the views of docs/sql.md, and nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from psycopg import Connection, errors

from localfleet.servers.fleet import LocalFleet
from localfleet.servers.server import Server
from rainbo import sql_reader
from tests.caches import query, register
from tests.instances import InstanceFleet

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
SHORT = {
    "character varying": "varchar",
    "character varying[]": "varchar[]",
    "double precision": "double",
    "timestamp with time zone": "timestamptz",
}
OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
READABLE = f"""
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND has_any_column_privilege(c.oid, 'SELECT')
"""
OTHERWISE = f"""
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {OURS} AND (
    c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
             OR has_any_column_privilege(c.oid, 'INSERT, UPDATE, REFERENCES'))
    OR c.relkind = 'S' AND has_sequence_privilege(c.oid, 'USAGE, SELECT, UPDATE'))
"""
DEFINERS = f"""
SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE {OURS} AND p.prosecdef
"""
Reader = Callable[[], Connection[Any]]


def documented() -> dict[str, list[tuple[str, str]]]:
    parts = re.split(r"^### `reporting\.(\w+)`$", PAGE, flags=re.MULTILINE)
    return {
        name: re.findall(r"^\| `(\w+)` \| ([\w\[\]]+) \|", text, re.MULTILINE)
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.fixture
def superuser(postgres_servers: LocalFleet) -> Iterator[Connection[Any]]:
    with postgres_servers["rainbo"].connect(connection.settings_dict["NAME"]) as session:
        yield session


@pytest.fixture
def reader(postgres_servers: LocalFleet, superuser: Connection[Any]) -> Iterator[Reader]:
    """What connects as a reader that the command made."""
    name, password = f"reader_{secrets.token_hex(4)}", secrets.token_hex(8)
    superuser.execute(sql_reader.statements(name))
    superuser.execute(f"ALTER ROLE {name} PASSWORD '{password}'")
    server: Server = postgres_servers["rainbo"]
    sessions: list[Connection[Any]] = []

    def connect() -> Connection[Any]:
        database = connection.settings_dict["NAME"]
        sessions.append(server.connect(database, user=name, password=password))
        return sessions[-1]

    yield connect
    for session in sessions:
        session.close()
    superuser.execute(sql_reader.statements(name, remove=True))
    assert superuser.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchall() == []


@pytest.mark.django_db
def test_the_views_have_the_columns_of_the_page() -> None:
    found: dict[str, list[tuple[str, str]]] = {}
    for view, column, kind in query(
        "SELECT c.relname, a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid WHERE a.attnum > 0 "
        "AND c.relnamespace = 'reporting'::regnamespace ORDER BY c.relname, a.attnum"
    ):
        found.setdefault(view, []).append((column, SHORT.get(kind, kind)))
    assert documented() == found


@pytest.mark.django_db(transaction=True)
def test_a_reader_reads_the_views_and_nothing_else(reader: Reader) -> None:
    session = reader()
    readable = {name for (name,) in session.execute(READABLE)}
    assert readable == {f"reporting.{view}" for view in documented()}
    assert session.execute(OTHERWISE).fetchall() == []
    assert session.execute(DEFINERS).fetchall() == []
    for view in documented():
        session.execute(f"SELECT * FROM {view}")
    for refused in (
        "SELECT * FROM public.rds_instances",
        "SELECT password FROM auth_user",
        "SELECT * FROM activity",
        "COPY (SELECT 1) TO '/tmp/file'",
        "SET ROLE rainbo",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute(refused)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM reporting.runs",
        "UPDATE reporting.instances SET name = 'x'",
        "CREATE TABLE public.mine ()",
        "CREATE TABLE reporting.mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_a_reader_writes_nothing_even_in_a_transaction_that_may(
    reader: Reader, statement: str
) -> None:
    session = reader()
    with pytest.raises((errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege)):
        session.execute(statement)
    session.execute("SET default_transaction_read_only = off")
    with pytest.raises(errors.InsufficientPrivilege):
        session.execute(statement)


@pytest.mark.django_db(transaction=True)
def test_no_view_has_a_secret(reader: Reader, fleet: InstanceFleet) -> None:
    """Whatever the tables have, a marker of each secret column reaches no view."""
    row = register(fleet.master)
    row.host, row.user, row.last_error = "host-marker", "user-marker", "error-marker"
    row.save()
    ((stored,),) = query("SELECT password::text FROM rds_instances")
    session = reader()
    shown = "\n".join(
        str(line) for view in documented() for line in session.execute(f"SELECT v FROM {view} v")
    )
    assert row.name in shown
    for hidden in ("marker", stored, fleet.master.rainbo_password):
        assert hidden not in shown


@pytest.mark.django_db(transaction=True)
def test_rainbo_itself_goes_on(reader: Reader) -> None:
    """What was taken from PUBLIC is what its own role needs: temporary tables, and migrations."""
    reader()
    query("CREATE TEMPORARY TABLE staged ()")
    query("DROP TABLE staged")
    query("CREATE TABLE of_a_migration ()")
    query("DROP TABLE of_a_migration")


@pytest.mark.django_db(transaction=True)
def test_the_command_can_be_repeated_and_takes_no_role_that_is_another(
    reader: Reader, superuser: Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    name = reader().info.user
    call_command("sql_reader", name)
    superuser.execute(capsys.readouterr().out)
    assert reader().execute("SELECT count(*) FROM tenants").fetchall() == [(0,)]
    superuser.execute("CREATE ROLE somebody SUPERUSER")
    try:
        for remove in (False, True):
            with pytest.raises(psycopg.errors.RaiseException):
                superuser.execute(sql_reader.statements("somebody", remove=remove))
            superuser.execute("ROLLBACK")
        found = superuser.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'somebody'")
        assert found.fetchall() == [(True,)]
    finally:
        superuser.execute("DROP ROLE somebody")
    with pytest.raises(Exception, match="can't be the name"):
        call_command("sql_reader", connection.settings_dict["USER"])
