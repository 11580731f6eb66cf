"""Whoever runs exactly what check_fleet prints, once, has nothing left to grant or to take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pytest_django import Settings

from tenants.fleet import connections, contract
from tenants.health import checks, ghost_check
from tenants.health.findings import Level
from tenants.models import RdsInstance
from tests.caches import register
from tests.instances import Instance, InstanceFleet
from tests.tenants.health import schemas

MIXED = pytest.mark.parametrize("bare", [schemas.UUIDS], indirect=True, ids=["uuids"])
STATEMENT = re.compile(r"(?:GRANT|REVOKE|ALTER ROLE) [^;]+;")
CONFIGURED = ("ssl mode disable",)  # of this machine's test servers


@pytest.fixture(params=schemas.ALL, ids=lambda schema: schema.name)
def bare(
    request: pytest.FixtureRequest, registered: InstanceFleet, settings: Settings, tmp_path: Path
) -> Instance:
    """The master with another schema, where RAINBO's role has no right but to connect."""
    dress(registered.master, request.param, settings, tmp_path)
    return registered.master


def dress(instance: Instance, schema: schemas.Schema, settings: Settings, folder: Path) -> None:
    """Give an instance a schema, and take all rights but to connect from RAINBO's role."""
    instance.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    instance.execute(schemas.ddl(schema))
    instance.execute("DROP OWNED BY rainbo")
    instance.execute("GRANT CONNECT ON DATABASE app TO rainbo")
    for file, text in schema.texts().items():
        (folder / file).write_text(text)
    settings.RAINBO_SOURCE_SQL = folder


def complaints() -> list[str]:
    (checked,) = checks.check_fleet([RdsInstance.objects.get(is_master=True)])
    return [
        finding.text
        for finding in checked.findings
        if finding.level is not Level.OK and not finding.text.startswith(CONFIGURED)
    ]


def obey(instance: Instance, found: list[str]) -> list[str]:
    statements = [one for text in found for one in STATEMENT.findall(text)]
    for statement in statements:
        instance.execute(statement)
    return statements


def test_obeyed_once_nothing_is_left_to_say(bare: Instance) -> None:
    first = complaints()
    statements = obey(bare, first)
    assert statements
    assert complaints() == []
    granted = [given.lower() for given, _ in rights(statements)]
    assert not [one for one in granted if re.match(r"select .*(passw|token)", one)]


def test_every_granted_right_is_needed(bare: Instance) -> None:
    """Proved by the server: without any one of them, a query is refused."""
    statements = obey(bare, complaints())
    assert refused() == ""
    for given, where in rights(statements):
        bare.execute(f"REVOKE {given} ON {where} FROM rainbo")
        assert "permission denied" in refused() or "does not exist" in refused(), (given, where)
        bare.execute(f"GRANT {given} ON {where} TO rainbo")


@MIXED
def test_a_role_with_everything_is_told_what_to_keep(bare: Instance) -> None:
    bare.execute("ALTER ROLE rainbo SUPERUSER")
    obey(bare, complaints())
    assert complaints() == []


@MIXED
@pytest.mark.parametrize("group", ["pg_read_all_data", "pg_write_all_data", "crew"])
def test_a_member_of_a_mighty_role_is_told_what_to_keep(bare: Instance, group: str) -> None:
    bare.execute("CREATE ROLE crew")
    try:
        tables = [name for (name,) in bare.execute(TABLES)]
        for table in tables:
            bare.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO crew")
        bare.execute(f"GRANT {group} TO rainbo")
        obey(bare, complaints())
        assert complaints() == []
    finally:
        bare.execute("DROP OWNED BY crew; DROP ROLE crew")


@pytest.mark.parametrize("to", ["rainbo", "PUBLIC"])
def test_whole_tables_are_reduced_to_columns(bare: Instance, to: str) -> None:
    for (table,) in bare.execute(TABLES):
        bare.execute(f"GRANT ALL ON {table} TO {to}")
    obey(bare, complaints())
    assert complaints() == []


TABLES = """
    SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
     WHERE schemaname !~ '^(pg_|information_schema)' ORDER BY 1"""


def rights(statements: list[str]) -> Iterator[tuple[str, str]]:
    """Each single right of some GRANTs."""
    for statement in statements:
        found = re.fullmatch(r"GRANT (.+?) ON (.+) TO rainbo;", statement)
        assert found, statement
        for privilege, columns in re.findall(r"([A-Z]+)(?: \(([^)]+)\))?(?:, |$)", found[1]):
            for column in columns.split(", ") if columns else [""]:
                yield (f"{privilege} ({column})" if column else privilege), found[2]


def refused() -> str:
    """Run all queries as RAINBO does, without check_fleet; why the first is refused."""
    row = RdsInstance.objects.get(pk=1)
    try:
        with connections.connect(row, "test") as source:
            for name in contract.COLUMNS.keys() - set(contract.SUPPORT):
                source.execute(contract.text(name).encode())
        with connections.connect(row, "test", writes=True) as source:
            ghost_check.run(source)
    except Exception as error:  # noqa: BLE001 (its cause is judged)
        cause = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error
        return str(cause)
    return ""


@pytest.mark.parametrize("schema", schemas.ALL, ids=lambda schema: schema.name)
def test_obeyed_once_on_an_older_server(
    older: Instance,
    transactional_db: None,
    settings: Settings,
    tmp_path: Path,
    schema: schemas.Schema,
) -> None:
    register(older)
    dress(older, schema, settings, tmp_path)
    assert obey(older, complaints())
    assert complaints() == []
