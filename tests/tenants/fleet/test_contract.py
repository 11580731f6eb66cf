from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from pytest_django import Settings

from syncs.errors import ContractBroken
from syncs.transfer import copy_stream
from tenants.fleet import contract
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
