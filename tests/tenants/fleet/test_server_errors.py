"""Errors of a server are recognized by SQLSTATE and by who answered, in any language."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from django.db import connection as own_database

from localfleet.servers import data_folder, databases
from localfleet.servers.server import Server
from syncs.errors import (
    Conflict,
    ConnectionFailed,
    ContractBroken,
    ForeignServerFailed,
    LoginRejected,
    OwnDatabaseFailed,
    SourceError,
)
from syncs.transfer.session import Session, open_session
from tenants.fleet import connections, transactions
from tenants.fleet.server_errors import translating_query_errors
from tenants.models import RdsInstance
from tests.caches import register
from tests.instances import Instance, InstanceFleet

FOREIGN_TABLE = """
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER behind FOREIGN DATA WRAPPER postgres_fdw
        OPTIONS (host '127.0.0.1', port '{port}', dbname '{database}', connect_timeout '2');
    CREATE USER MAPPING FOR rainbo SERVER behind OPTIONS (user '{user}', password '{password}');
    CREATE FOREIGN TABLE elsewhere (id bigint) SERVER behind OPTIONS (table_name '{table}');
    GRANT SELECT ON elsewhere TO rainbo"""
SLEEPING = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
STATEMENT_POOLING = "transaction blocks not allowed in statement pooling mode"


def read(pk: int, query: str) -> SourceError:
    """Return the error of reading it there."""
    with (
        pytest.raises(SourceError) as raised,
        connections.connect(RdsInstance.objects.get(pk=pk), "test") as source,
        transactions.transaction(source),
    ):
        source.execute(query)
    return raised.value


def foreign_table(instance: Instance, behind: Instance, **changed: str) -> None:
    options = {
        "port": str(behind.port),
        "database": behind.database,
        "user": behind.user,
        "password": behind.rainbo_password,
        "table": "tenants",
    }
    instance.execute(FOREIGN_TABLE.format(**options | changed))


def test_a_foreign_server_that_is_down_is_named(registered: InstanceFleet) -> None:
    foreign_table(registered[2], registered[3])
    registered[3].server.stop()
    error = read(2, "SELECT * FROM elsewhere")
    assert isinstance(error, ForeignServerFailed)
    assert str(error) == (
        "instance 2 (rds2) reads from a foreign server, which failed: could not connect to server "
        '"behind". Check there that it is reachable, and the user mapping'
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "wrong"}, 'could not connect to server "behind"'),
        ({"table": "nowhere"}, 'relation "public.nowhere" does not exist'),
        ({"table": "pg_authid"}, "does not exist"),
    ],
)
def test_what_a_foreign_server_reports_is_not_blamed_on_the_instance(
    registered: InstanceFleet, changed: dict[str, str], words: str
) -> None:
    foreign_table(registered[2], registered[3], **changed)
    error = read(2, "SELECT * FROM elsewhere")
    assert isinstance(error, ForeignServerFailed)
    assert words in str(error)
    assert "wrong" not in str(error)


@pytest.mark.parametrize("state", ["08001", "08006", "HV00N", "HV00B"])
def test_a_source_that_reports_a_lost_connection_is_not_our_database(
    registered: InstanceFleet, state: str
) -> None:
    error = read(2, f"DO $$ BEGIN RAISE 'x' USING ERRCODE = '{state}'; END $$")
    assert isinstance(error, ForeignServerFailed)


@pytest.mark.parametrize(
    "use",
    [
        lambda session: session.execute("SELECT 1"),
        lambda session: session.cursor().execute("SELECT 1"),
        lambda session: session.transaction().__enter__(),
    ],
)
def test_a_lost_connection_of_our_own_database_is_its_own(
    registered: InstanceFleet, use: Callable[[Session], object]
) -> None:
    instance = RdsInstance.objects.get(pk=2)
    with open_session("test") as session:
        with own_database.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [session.info.backend_pid])
        with (
            connections.connect(instance, "test") as source,
            pytest.raises(OwnDatabaseFailed),
            translating_query_errors(instance, source),
        ):
            use(session)


def test_an_ended_session_is_the_instances(registered: InstanceFleet) -> None:
    error = read(2, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert isinstance(error, ConnectionFailed)
    assert "instance 2 (rds2) ended the session" in str(error)


def test_a_pooler_in_statement_mode_is_named(registered: InstanceFleet) -> None:
    statement = f"DO $$ BEGIN RAISE '{STATEMENT_POOLING}' USING ERRCODE = '08P01'; END $$"
    error = read(2, statement)
    assert isinstance(error, ContractBroken)
    assert str(error) == (
        "instance 2 (rds2) is behind a pooler in statement pooling mode, which can't run "
        "transactions: use transaction or session mode"
    )


def test_a_serialization_failure_is_no_recovery_conflict(registered: InstanceFleet) -> None:
    error = read(2, "DO $$ BEGIN RAISE 'x' USING ERRCODE = '40001'; END $$")
    assert isinstance(error, Conflict)
    assert "because of another one" in str(error)


@pytest.fixture
def german(
    extra_server: Callable[..., Server],
    extra_instance: Callable[..., Instance],
    debian_bin: object,
    transactional_db: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Instance:
    """Debian's server with German messages; LANGUAGE counts for every locale but C."""
    monkeypatch.setitem(data_folder.ENVIRONMENT, "LANGUAGE", "de")
    server = extra_server("german", bin_folder=debian_bin, options={"lc_messages": "C.UTF-8"})
    instance = extra_instance(4, server=server)
    with instance.connect() as session, pytest.raises(psycopg.Error, match="existiert nicht"):
        session.execute("SELECT FROM nowhere")
    register(instance)
    return instance


def refusal(instance: Instance, **changed: Any) -> SourceError:
    row = RdsInstance.objects.get(pk=instance.id)
    for name, value in changed.items():
        setattr(row, name, value)
    row.set_password(instance.rainbo_password)
    with pytest.raises(SourceError) as raised, connections.reach(row, "test"):
        pass
    return raised.value


def test_a_wrong_password_is_final_in_any_language(german: Instance) -> None:
    databases.set_role(german.server, "rainbo", "another")
    error = refusal(german)
    assert isinstance(error, LoginRejected)
    assert not error.transient
    assert "instance 4 (rds4) rejected the login: Passwort-Authentifizierung" in str(error)


@pytest.mark.parametrize(
    ("damage", "changed"),
    [
        ("ALTER ROLE rainbo NOLOGIN", {}),
        ("SELECT", {"database": "nowhere"}),
        ("SELECT", {"user": "tls_root_certificate_timed_out"}),
        ("REVOKE CONNECT ON DATABASE app FROM rainbo", {}),
        ("ALTER ROLE rainbo CONNECTION LIMIT 0", {}),
    ],
)
def test_a_refusal_is_no_network_fault_in_any_language(
    german: Instance, damage: str, changed: dict[str, str]
) -> None:
    german.execute(damage)
    error = refusal(german, **changed)
    assert isinstance(error, LoginRejected)
    assert not error.transient
    assert "rejected the login: " in str(error)


def test_no_rule_in_pg_hba_is_a_refusal_in_any_language(german: Instance) -> None:
    hba = german.server.data / "pg_hba.conf"
    rules = hba.read_text()
    hba.write_text("host all rainbo all reject\n" + rules)
    german.execute("SELECT pg_reload_conf()")
    error = refusal(german)
    assert isinstance(error, LoginRejected)
    assert not error.transient


def test_row_security_is_named_in_any_language(german: Instance) -> None:
    german.execute("ALTER TABLE tenants ENABLE ROW LEVEL SECURITY")
    error = read(4, "SELECT * FROM tenants")
    assert isinstance(error, ContractBroken)
    assert "hides rows of tenants from rainbo by row-level security" in str(error)


def test_a_server_that_shuts_down_is_named_in_any_language(german: Instance) -> None:
    """A smart shutdown waits for the open session and refuses others: SQLSTATE 57P03."""
    address = f"host={german.host} port={german.port}".encode()
    with german.connect():
        german.server.send_signal(signal.SIGTERM)
        while psycopg.pq.PGconn.ping(address) != psycopg.pq.Ping.REJECT:
            pass
        error = refusal(german)
    assert isinstance(error, ConnectionFailed)
    assert "instance 4 (rds4) is starting up or shutting down: " in str(error)


@pytest.fixture
def standby(
    extra_server: Callable[..., Server],
    extra_instance: Callable[..., Instance],
    transactional_db: None,
) -> tuple[Instance, Instance]:
    """A primary, and a standby that stops every query that is in the way of replay."""
    primary = extra_instance(5, server=extra_server("primary"))
    primary.add_tenant(1)
    primary.server.stop()
    copy = primary.server.folder.with_name("standby")
    subprocess.run(["cp", "--archive", primary.server.folder, copy], check=True)
    shutil.copy(copy.with_name("primary.password"), copy.with_name("standby.password"))
    (copy / "data" / "standby.signal").touch()
    primary.server.start()
    source = f"host={primary.host} port={primary.port} user=postgres"
    options = {
        "primary_conninfo": f"{source} password={primary.server.password}",
        "max_standby_streaming_delay": "0",
    }
    replica = replace(primary, server=extra_server("standby", options=options))
    register(replica)
    return primary, replica


def test_a_recovery_conflict_is_named_with_the_settings_that_help(
    standby: tuple[Instance, Instance],
) -> None:
    primary, replica = standby

    def read_for_long() -> SourceError:
        try:
            return read(5, "SELECT pg_sleep(60) FROM tenants")
        finally:
            own_database.close()  # that of this thread

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_for_long)
        with replica.connect() as looking:
            while not looking.execute(SLEEPING).fetchone():
                assert not reading.done(), reading.result()
        primary.execute("ALTER TABLE tenants ADD COLUMN later text")
        error = reading.result()
    assert isinstance(error, Conflict)
    assert str(error) == (
        "instance 5 (rds5) is a standby and stopped the query, which was in the way of replay: set "
        "hot_standby_feedback = on there, or raise max_standby_streaming_delay"
    )
