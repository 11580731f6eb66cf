from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from psycopg.pq import Conninfo
from pytest_django import Settings

from common.errors import RainboError
from localfleet.servers import databases
from localfleet.servers.server import Server
from syncs.errors import Conflict, ConnectionFailed, ContractBroken, LoginRejected, SourceTimeout
from syncs.transfer import copy_stream
from tenants.fleet import connections, contract, transactions, validation
from tenants.models import RdsInstance
from tests.caches import register
from tests.instances import Instance, InstanceFleet


def known(number: int = 1) -> RdsInstance:
    return RdsInstance.objects.get(pk=number)


def one(setting: str, **kwargs: bool) -> str:
    with connections.connect(known(), "test", **kwargs) as source:
        row = source.execute("SELECT current_setting(%s)", [setting]).fetchone()
    assert row is not None
    return str(row[0])


def failure(act: Callable[[], object]) -> RainboError:
    """The error that it ends with, which holds no secret."""
    with pytest.raises(RainboError) as raised:
        act()
    for stored in RdsInstance.objects.all():
        assert stored.reveal_password() not in str(raised.value)
    return raised.value


def ask(statement: str = "SELECT 1") -> None:
    with connections.connect(known(), "test") as source:
        source.execute(statement.encode())


def test_a_session_says_what_it_is_for_and_how_long_it_waits(registered: InstanceFleet) -> None:
    assert one("application_name") == "rainbo/test"
    assert one("statement_timeout") == "2min"
    assert one("lock_timeout") == "30s"
    assert one("idle_in_transaction_session_timeout") == "5min"
    assert one("TimeZone") == "UTC"
    assert one("client_encoding") == "UTF8"


def test_a_session_that_reads_can_not_write(registered: InstanceFleet) -> None:
    error = failure(lambda: ask("UPDATE users SET status = 'x'"))
    assert "read-only transaction" in str(error)
    assert one("transaction_read_only", writes=True) == "off"
    assert one("idle_in_transaction_session_timeout", writes=True) == "30s"  # half a lease


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "system"),
        ("PGSSLCERTMODE", "require"),
        ("PGOPTIONS", "-c statement_timeout=1"),
        ("PGREQUIREAUTH", "none"),
        ("PGCHANNELBINDING", "require"),
        ("PGTARGETSESSIONATTRS", "standby"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGSSLMINPROTOCOLVERSION", "SSLv9"),
        ("PGSSLMAXPROTOCOLVERSION", "TLSv1"),
        ("PGMINPROTOCOLVERSION", "9.9"),
        ("PGMAXPROTOCOLVERSION", "2.0"),
        ("PGTZ", "Asia/Tokyo"),
        ("PGDATESTYLE", "German"),
    ],
)
def test_the_environment_has_no_say(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    row = known()
    row.host = "localhost"
    row.set_password(registered.master.rainbo_password)
    row.save()
    monkeypatch.setenv(name, value)
    assert one("TimeZone") == "UTC"
    assert one("DateStyle").startswith("ISO")
    assert one("statement_timeout") == "2min"


def test_every_keyword_that_the_environment_could_set_is_named(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: dict[str, object] = {}
    connect = connections.Connection.connect

    def spy(**keywords: Any) -> connections.Connection:
        named.update(keywords)
        return connect(**keywords)

    monkeypatch.setattr(connections.Connection, "connect", spy)
    ask()
    taken = {option.keyword.decode() for option in Conninfo.get_defaults() if option.envvar}
    assert taken - named.keys() == {"service"}


def test_a_read_sees_one_moment(registered: InstanceFleet) -> None:
    with connections.connect(known(), "test") as source:
        before = source.execute("SELECT count(*) FROM tenants").fetchone()
        registered.master.add_tenant(1)
        assert source.execute("SELECT count(*) FROM tenants").fetchone() == before


def test_a_server_that_is_down(registered: InstanceFleet) -> None:
    registered.master.server.stop()
    error = failure(ask)
    assert isinstance(error, ConnectionFailed)
    assert "instance 1 (rds1) refused the connection at 127.0.0.1:" in str(error)


def test_a_server_that_accepts_and_never_answers(
    registered: InstanceFleet, black_hole: tuple[str, int], settings: Settings
) -> None:
    settings.RAINBO_CONNECT_TIMEOUT = 2
    hole = register(registered[2], id=9, name="hole", port=black_hole[1])
    started = time.monotonic()
    (outcome,) = connections.each_instance([hole], lambda *_: None, "test")
    assert isinstance(outcome.error, SourceTimeout)
    assert "did not answer" in str(outcome.error)
    assert time.monotonic() - started < 3


def test_a_host_name_that_does_not_exist(registered: InstanceFleet) -> None:
    lost = register(registered.master, id=9, name="lost", is_master=False, host="nowhere.invalid")
    (outcome,) = connections.each_instance([lost], lambda *_: None, "test")
    assert isinstance(outcome.error, ConnectionFailed)
    assert "can't be resolved: nowhere.invalid" in str(outcome.error)


def test_a_wrong_password(registered: InstanceFleet) -> None:
    databases.set_role(registered.master.server, "rainbo", "another")
    error = failure(ask)
    assert isinstance(error, LoginRejected)
    assert str(error) == (
        "instance 1 (rds1) rejected the password for role rainbo: check --user and the password"
    )


def test_a_missing_database(registered: InstanceFleet) -> None:
    databases.drop(registered.master.server, "app")
    assert "instance 1 (rds1) has no database app" in str(failure(ask))


def test_a_database_that_the_role_may_not_enter(registered: InstanceFleet) -> None:
    registered.master.execute("REVOKE CONNECT ON DATABASE app FROM rainbo")
    assert "GRANT CONNECT ON DATABASE app TO rainbo" in str(failure(ask))


def test_a_role_that_may_not_log_in(registered: InstanceFleet) -> None:
    registered.master.execute("ALTER ROLE rainbo NOLOGIN")
    assert "does not let rainbo log in" in str(failure(ask))


def test_a_full_server(registered: InstanceFleet) -> None:
    registered.master.execute("ALTER ROLE rainbo CONNECTION LIMIT 0")
    assert "has no free connection" in str(failure(ask))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("REVOKE SELECT ON tenants FROM rainbo", "for table tenants: check_fleet --rds 1 prints"),
        (
            "REVOKE USAGE ON SCHEMA public FROM rainbo, public",
            "for schema public: check_fleet --rds 1 prints",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public",
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO rainbo;",
        ),
    ],
)
def test_a_missing_privilege_says_what_to_grant(
    registered: InstanceFleet, damage: str, words: str
) -> None:
    registered.master.execute(damage)
    error = failure(lambda: ask("SELECT * FROM public.tenants"))
    if "pg_control" in damage:
        registered.master.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO public")
    assert isinstance(error, ContractBroken)
    assert words in str(error)


def test_a_missing_table_is_named(registered: InstanceFleet) -> None:
    registered.master.execute("DROP TABLE locations")
    error = failure(lambda: ask("SELECT * FROM locations"))
    assert isinstance(error, ContractBroken)
    assert 'relation "locations" does not exist' in str(error)


def test_a_slow_query_is_stopped(registered: InstanceFleet, settings: Settings) -> None:
    settings.RAINBO_STATEMENT_TIMEOUT = 1
    error = failure(lambda: ask("SELECT pg_sleep(30)"))
    assert isinstance(error, SourceTimeout)
    assert "RAINBO_STATEMENT_TIMEOUT" in str(error)


def test_a_locked_table_is_not_waited_for(
    registered: InstanceFleet, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "LOCK_TIMEOUT", 1)
    with registered.master.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE tenants")
        error = failure(lambda: ask("SELECT * FROM tenants"))
    assert "kept a table locked" in str(error)


def test_a_deadlock_is_a_conflict(registered: InstanceFleet) -> None:
    error = failure(lambda: ask("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$"))
    assert isinstance(error, Conflict)
    assert error.transient


def test_a_sql_ascii_server_is_asked_for_its_bytes(
    registered: InstanceFleet, extra_instance: Callable[..., Instance]
) -> None:
    ascii_instance = extra_instance(4, encoding="SQL_ASCII")
    register(ascii_instance)
    ascii_instance.add_tenant(1, "good")
    ascii_instance.execute("UPDATE tenants SET name = convert_from('\\xff61', 'SQL_ASCII')")
    with connections.connect(known(4), "test") as source:
        assert source.execute("SELECT name FROM tenants").fetchone() == ("\\xffa",)
        assert copy_stream.server_encoding(source) == "SQL_ASCII"
        copy_stream.probe(source, contract.query("sync_tenant_summaries"))


def test_a_server_is_reached_by_its_unix_socket(
    extra_server: Callable[..., Server],
    extra_instance: Callable[..., Instance],
    transactional_db: None,
) -> None:
    with TemporaryDirectory(prefix="socket-", dir="/tmp") as folder:
        Path(folder).chmod(0o777)  # the server may run as another account
        server = extra_server("socket", options={"unix_socket_directories": folder})
        row = register(extra_instance(5, server=server), host=folder, ssl_mode="verify-full")
        assert validation.broken_rules(row) == {}
        with connections.connect(row, "test") as source:
            assert source.info.host == folder
