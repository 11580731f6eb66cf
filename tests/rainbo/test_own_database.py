"""RAINBO's own database behind a pooler, and with settings that read values in another way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

import pytest
from django.db import connection
from psycopg import sql
from psycopg.pq import Conninfo
from pytest_django import Settings

from localfleet.folders import local_root, scratch_root
from localfleet.servers.fleet import LocalFleet
from localfleet.servers.server import Server
from rainbo import checks
from syncs.models import RunState, SyncRun
from syncs.transfer.session import open_session
from tests import pooler
from tests.caches import register, shown_emails
from tests.children import child
from tests.fleet_fixtures import needs
from tests.instances import InstanceFleet

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = {
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Tokyo",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
}


@pytest.fixture
def own(postgres_servers: LocalFleet) -> Server:
    return postgres_servers["rainbo"]


@pytest.fixture
def hostile(own: Server) -> Iterator[None]:
    """RAINBO's role gets these settings by default."""
    role = sql.Identifier(os.environ["RAINBO_DB_USER"])
    with own.connect() as session:
        for name, value in HOSTILE.items():
            session.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    role, sql.Identifier(name), sql.Literal(value)
                )
            )
        yield
        session.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(role))


@pytest.fixture
def pooled(own: Server) -> Iterator[dict[str, str]]:
    """The environment of a RAINBO behind a pooler."""
    needs(pooler.PROGRAM, "PgBouncer is not installed: apt install pgbouncer")
    users = {os.environ["RAINBO_DB_USER"]: os.environ["RAINBO_DB_PASSWORD"]}
    with scratch_root(local_root()) as root, pooler.pooler(root, own, users, size=3) as port:
        yield {
            "RAINBO_DB_POOLER": "on",
            "RAINBO_DB_PORT": str(port),
            "RAINBO_DB_DIRECT_HOST": own.host,
            "RAINBO_DB_DIRECT_PORT": str(own.port),
        }


@pytest.fixture
def filled(fleet: InstanceFleet) -> InstanceFleet:
    for instance in fleet.instances:
        register(instance)
        instance.add_tenant(1)
        instance.add_user(101, 1, "ann@example.com")
    fleet.master.add_route(1, "ann@example.com", 1, 2)
    return fleet


COMMANDS = (
    ("sync_user_routing",),
    ("sync_tenant_summaries", "--rds=2", "--force"),
    ("sync_ghost_users",),
    ("sync_instance_health",),
    ("verify_cache",),
    ("find_user", "ann@example.com", "--live"),
    ("setup_schedules",),
    ("schedule_list", "--json"),
)


def run_all(commands: Sequence[Sequence[str]], **env: str) -> None:
    for words in commands:
        with child(*words, **env) as process:
            code, said = process.end()
        assert (words, code) == (words, 0), said
    with child("rainbo_status", "--json", **env) as process:
        code, said = process.end()
    assert json.loads(said[said.index("{") :])["syncs"], said
    assert {run.state for run in SyncRun.objects.all()} == {RunState.SUCCEEDED}
    assert shown_emails() == ["ann@example.com"]


def test_every_command_works_behind_a_pooler(filled: InstanceFleet, pooled: dict[str, str]) -> None:
    run_all(COMMANDS, **pooled)


def test_every_command_works_whatever_the_role_has_set(
    filled: InstanceFleet, hostile: None
) -> None:
    run_all(COMMANDS[:1])


def test_a_pooler_without_a_direct_address_is_refused_at_the_start(pooled: dict[str, str]) -> None:
    with child("sync_user_routing", **(pooled | {"RAINBO_DB_DIRECT_HOST": ""})) as process:
        code, said = process.end()
    assert code != 0
    assert "RAINBO_DB_DIRECT_HOST is not set" in said
    assert "Traceback" not in said


def test_settings_that_a_pooler_can_not_keep_must_be_the_roles_own(
    hostile: None, pooled: dict[str, str]
) -> None:
    with child("check", "--database=default", **pooled) as process:
        code, said = process.end()
    assert code == 1
    assert "SET array_nulls = 'on'" in said
    assert "SET intervalstyle = 'postgres'" in said
    assert "datestyle" not in said


@pytest.mark.parametrize(
    "variables",
    [
        {"PGOPTIONS": "-c statement_timeout=1 -c datestyle=German"},
        {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/nowhere"},
        {"PGSSLCERTMODE": "require"},
        {"PGREQUIREAUTH": "none"},
        {"PGHOSTADDR": "192.0.2.1"},
        {"PGTARGETSESSIONATTRS": "standby"},
        {"PGSSLMINPROTOCOLVERSION": "SSLv9"},
        {"PGCLIENTENCODING": "LATIN1"},
        {"PGPASSFILE": "/nowhere"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_the_environment_has_no_say_about_its_connection(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with open_session("test") as session:
        assert session.execute("SHOW datestyle").fetchone() == ("ISO, MDY",)
    connection.close()
    connection.ensure_connection()


def test_a_service_file_has_no_say_either() -> None:
    with child("check", "--database=default", PGSERVICE="elsewhere") as process:
        code, said = process.end()
    assert code == 0, said


def test_every_keyword_that_the_environment_could_set_is_named() -> None:
    taken = {option.keyword.decode() for option in Conninfo.get_defaults() if option.envvar}
    assert taken - connection.get_connection_params().keys() == {"service"}


def test_the_check_of_the_direct_address(settings: Settings) -> None:
    settings.RAINBO_DB_POOLER, settings.RAINBO_DB_DIRECT_HOST = True, ""
    assert [message.id for message in checks.direct_address()] == ["rainbo.E016"]
    settings.RAINBO_DB_DIRECT_HOST = "db.example.com"
    assert list(checks.direct_address()) == []
