from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from pytest_django import Settings

from syncs.errors import ContractBroken
from syncs.transfer import copy_stream
from tenants.fleet import contract
from tenants.models import Tenant
from tests.caches import run_sync
from tests.instances import InstanceFleet

REFUSALS = (ContractBroken, psycopg.errors.UndefinedColumn)
NAMES = ("sync_user_routing", "sync_tenant_summaries")


@pytest.fixture
def own_sql(settings: Settings, tmp_path: Path) -> Path:
    """This installation's folder of queries."""
    settings.RAINBO_SOURCE_SQL = tmp_path
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_queries_keep_the_contract(fleet: InstanceFleet, name: str) -> None:
    with fleet.master.connect_as_rainbo() as source:
        copy_stream.probe(source, contract.query(name))


def test_a_file_of_this_installation_wins(own_sql: Path) -> None:
    (own_sql / "sync_user_routing.sql").write_text("SELECT 1;\n")
    assert contract.text("sync_user_routing") == "SELECT 1\n"
    assert "FROM tenants" in contract.text("sync_tenant_summaries")


def test_a_comment_at_the_end_swallows_nothing(fleet: InstanceFleet, own_sql: Path) -> None:
    shipped = contract.text("sync_user_routing")
    (own_sql / "sync_user_routing.sql").write_text(f"{shipped}-- the end")
    with fleet.master.connect_as_rainbo() as source:
        copy_stream.probe(source, contract.query("sync_user_routing"))


def test_the_fingerprint_follows_the_sql(own_sql: Path) -> None:
    before = contract.fingerprint("sync_user_routing")
    (own_sql / "sync_user_routing.sql").write_text("SELECT 1")
    assert contract.fingerprint("sync_user_routing") != before


def test_a_file_that_is_no_text_is_named(own_sql: Path) -> None:
    (own_sql / "sync_user_routing.sql").write_bytes(b"\xff\xfe")
    with pytest.raises(ContractBroken, match=r"sync_user_routing\.sql can't be read"):
        contract.query("sync_user_routing")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DROP COLUMN updated_at", "updated_at"),
        (
            "ALTER updated_at TYPE timestamp",
            "updated_at is timestamp, not timestamptz (write updated_at AT TIME ZONE 'UTC'",
        ),
        ("ALTER updated_at TYPE date", "column updated_at is date, not timestamptz"),
        ("ALTER email TYPE bytea USING email::bytea", "column email is bytea"),
        ("ALTER id TYPE double precision", "column id is float8"),
    ],
)
def test_a_wrong_column_is_named(fleet: InstanceFleet, damage: str, words: str) -> None:
    fleet.master.execute(f"ALTER TABLE user_email_routing {damage}")
    with fleet.master.connect_as_rainbo() as source, pytest.raises(REFUSALS) as raised:
        copy_stream.probe(source, contract.query("sync_user_routing"))
    assert words in str(raised.value)


@pytest.mark.parametrize("kind", ["uuid", "numeric", "varchar(40)", "integer"])
def test_ids_may_have_many_types(fleet: InstanceFleet, kind: str) -> None:
    fleet.master.execute(f"ALTER TABLE user_email_routing ALTER user_id TYPE {kind} USING NULL")
    with fleet.master.connect_as_rainbo() as source:
        copy_stream.probe(source, contract.query("sync_user_routing"))


BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "written",
    [
        BOM + b"SELECT 1;",
        b"SELECT 1;\r\n",
        b"SELECT 1; -- the end",
        b"SELECT 1;\n/* the end; /* nested; */ of it */\n;\n-- ;",
        BOM + b"SELECT 1; -- the end\r\n",
    ],
)
def test_what_editors_leave_around_a_statement_is_read(own_sql: Path, written: bytes) -> None:
    (own_sql / "sync_user_routing.sql").write_bytes(written)
    assert contract.text("sync_user_routing") == "SELECT 1\n"


@pytest.mark.parametrize(
    "statement",
    [
        """SELECT ';' AS a, E'\\';' AS b, ";" FROM $$;$$ -- ;""",
        "SELECT $of$ $$; $of$, /* ; */ 'it''s;'",
        "-- first; of all\nSELECT 1",
    ],
)
def test_a_semicolon_within_a_statement_ends_nothing(own_sql: Path, statement: str) -> None:
    (own_sql / "sync_user_routing.sql").write_text(f"{statement}\n;")
    assert contract.text("sync_user_routing") == f"{statement}\n\n"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("SELECT 1; SELECT 2", "sync_user_routing.sql has several statements: write one"),
        ("SET timezone = 'UTC';\nSELECT 2;", "sync_user_routing.sql has several statements"),
        ("", "sync_user_routing.sql has no statement"),
        ("-- nothing yet\n;", "sync_user_routing.sql has no statement"),
    ],
)
def test_no_or_several_statements_are_refused(own_sql: Path, written: str, words: str) -> None:
    (own_sql / "sync_user_routing.sql").write_text(written)
    with pytest.raises(ContractBroken, match=words):
        contract.query("sync_user_routing")


TENANTS = contract.COLUMNS["sync_tenant_summaries"]
NEW_YORK = datetime(2027, 1, 1, 5, tzinfo=UTC)
BERLIN = datetime(2027, 6, 30, 22, tzinfo=UTC)
NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)


def tenants_query(column: str, expression: str) -> str:
    values = {each.name: f"NULL::{each.kind}" for each in TENANTS} | {column: expression}
    return "SELECT " + ", ".join(f"{value} AS {name}" for name, value in values.items())


def obeyed(query: str, advice: str, column: str, zone: str) -> str:
    """Return the query around which the advised expression is written."""
    found = re.search(rf"write (.+?) AS {column} in the query", advice)
    assert found, advice
    expression = found[1].replace("'UTC'", f"'{zone}'")
    names = ", ".join(each.name for each in TENANTS if each.name != column)
    return f"SELECT {names}, {expression} AS {column} FROM ({query}) AS before"


@pytest.mark.parametrize(
    ("column", "expression", "zone", "value"),
    [
        ("trial_ends_at", "date '2027-01-01'", "America/New_York", NEW_YORK),
        ("trial_ends_at", "date '2027-07-01'", "Europe/Berlin", BERLIN),
        ("trial_ends_at", "timestamp '2027-01-01 00:00'", "America/New_York", NEW_YORK),
        ("trial_ends_at", "1798804800", "UTC", NOON),
        ("trial_ends_at", "1798804800::bigint", "UTC", NOON),
        ("trial_ends_at", "1798804800.0::float8", "UTC", NOON),
        ("trial_ends_at", "1798804800.0::numeric", "UTC", NOON),
        ("trial_ends_at", "'2027-01-01T07:00:00-05:00'::varchar(40)", "UTC", NOON),
        ("trial_ends_at", "NULL", "UTC", None),
        ("trial_ends_at", """'"2027-01-01T12:00:00Z"'::jsonb""", "UTC", NOON),
        ("trial_ends_at", "'null'::jsonb", "UTC", None),
        ("name", r"""'"Acme \u00e9"'::jsonb""", "UTC", "Acme é"),
        ("name", """'"Acme"'::json""", "UTC", "Acme"),
        ("name", "'null'::jsonb", "UTC", None),
        ("name", r"'\x41636d65'::bytea", "UTC", "Acme"),
        ("name", "7", "UTC", "7"),
        ("id", "7::float8", "UTC", "7"),
        ("id", """'"a-7"'::jsonb""", "UTC", "a-7"),
        ("id", r"'\x07'::bytea", "UTC", "07"),
        ("user_count", "7.0::numeric", "UTC", 7),
        ("user_count", "'7'::jsonb", "UTC", 7),
        ("user_count", "'null'::jsonb", "UTC", None),
    ],
)
def test_advice_that_is_obeyed_gives_the_value(
    fleet: InstanceFleet, own_sql: Path, column: str, expression: str, zone: str, value: object
) -> None:
    file = own_sql / "sync_tenant_summaries.sql"
    file.write_text(tenants_query(column, expression))
    with fleet.master.connect_as_rainbo() as source:
        with pytest.raises(ContractBroken) as raised:
            copy_stream.probe(source, contract.query("sync_tenant_summaries"))
        file.write_text(obeyed(file.read_text(), str(raised.value), column, zone))
        query = contract.query("sync_tenant_summaries")
        copy_stream.probe(source, query)
        (kind,) = [each.kind for each in query.columns if each.name == column]
        read = f"SELECT {column}::{kind} FROM ({query.sql}) AS source"
        assert source.execute(read.encode()).fetchone() == (value,)


@pytest.mark.parametrize("column", ["user_count", "location_count"])
def test_a_count_without_a_type_is_unknown(
    registered: InstanceFleet, own_sql: Path, column: str
) -> None:
    query = tenants_query(column, "NULL")
    for name, value in (("id", "1"), ("name", "Acme"), ("status", "active")):
        query = query.replace(f"NULL::text AS {name},", f"'{value}' AS {name},")
    (own_sql / "sync_tenant_summaries.sql").write_text(query)
    run = run_sync("tenant_summaries")
    assert run.state == "succeeded", [part.error for part in run.targets.all()]
    assert {getattr(tenant, column) for tenant in Tenant.objects.all()} == {None}


def test_a_time_without_a_type_says_how_to_write_it(fleet: InstanceFleet, own_sql: Path) -> None:
    (own_sql / "sync_tenant_summaries.sql").write_text(tenants_query("trial_ends_at", "NULL"))
    with fleet.master.connect_as_rainbo() as source, pytest.raises(ContractBroken) as raised:
        copy_stream.probe(source, contract.query("sync_tenant_summaries"))
    assert "for an unknown time NULL::timestamptz" in str(raised.value)
