"""Limits that the owner of an instance's server, or of RAINBO's own database, set."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import connection as own_database

from localfleet.servers.fleet import LocalFleet
from syncs.errors import SourceError, SourceLimit, SourceTimeout
from syncs.models import RunState
from syncs.transfer.session import open_session
from tenants.fleet import connections, transactions
from tenants.models import RdsInstance
from tests.caches import part, run_sync
from tests.children import until
from tests.instances import Instance, InstanceFleet

SORT = "SELECT count(*) FROM (SELECT FROM generate_series(1, 200000) AS n ORDER BY n % 7) AS sorted"
OWNERS = ["ROLE rainbo", "DATABASE app"]
ROOM = "GRANT SET ON PARAMETER temp_file_limit TO rainbo"


@pytest.fixture
def instance(registered: InstanceFleet) -> Iterator[Instance]:
    yield registered[2]
    registered[2].server.start()
    registered[2].execute("REVOKE ALL ON PARAMETER temp_file_limit FROM rainbo")


def read(*statements: str, pause: float = 0.0) -> None:
    with connections.connect(RdsInstance.objects.get(pk=2), "test") as source:
        for statement in statements:
            source.execute(statement)
            time.sleep(pause)


def failure(act: Callable[[], object]) -> SourceError:
    with pytest.raises(SourceError) as raised:
        act()
    return raised.value


def obey(instance: Instance, error: SourceError) -> None:
    """Run the statement that the error ends with."""
    advice = re.search("(ALTER ROLE .*);$", str(error))
    assert advice, error
    instance.execute(advice[1])


@pytest.mark.parametrize(
    ("owner", "limit"),
    [
        ("ROLE rainbo", "statement_timeout"),
        ("ROLE rainbo", "transaction_timeout"),
        ("ROLE rainbo", "idle_in_transaction_session_timeout"),
        ("ROLE rainbo", "idle_session_timeout"),
        ("DATABASE app", "idle_session_timeout"),
    ],
)
def test_a_limit_that_a_role_may_change_does_not_count(
    instance: Instance, owner: str, limit: str
) -> None:
    instance.execute(f"ALTER {owner} SET {limit} = '900ms'")
    read("SELECT pg_sleep(1)", "SELECT 1", pause=1)


@pytest.mark.parametrize("owner", OWNERS)
def test_a_limit_of_temporary_files_is_named_and_tried_again(
    instance: Instance, owner: str
) -> None:
    instance.execute("ALTER ROLE rainbo SET work_mem = '64kB'")
    instance.execute(f"ALTER {owner} SET temp_file_limit = '64kB'")
    error = failure(lambda: read(SORT))
    assert isinstance(error, SourceLimit)
    assert error.transient
    assert "instance 2 (rds2) stopped a query: temporary file size exceeds" in str(error)
    obey(instance, error)
    read(SORT)


def test_a_sync_that_meets_the_limit_is_retried(instance: Instance) -> None:
    instance.execute(
        "INSERT INTO tenants (id, name) SELECT n, repeat('x', 200) || n "
        "FROM generate_series(1, 2000) AS n"
    )
    instance.execute(
        "INSERT INTO users (tenant_id, email) SELECT n % 2000 + 1, n || '@example.com' "
        "FROM generate_series(1, 20000) AS n"
    )
    for setting in ("work_mem = '64kB'", "temp_file_limit = '64kB'", "enable_hashagg = off"):
        instance.execute(f"ALTER ROLE rainbo SET {setting}")
    run = run_sync("tenant_summaries", targets=("2",))
    assert run.state == RunState.FAILED
    found = part(run, 2)
    assert (found.error_kind, found.passing) == ("server limit", True)
    instance.execute(ROOM)
    assert run_sync("tenant_summaries", targets=("2",)).state == RunState.SUCCEEDED


@pytest.mark.parametrize("way", [ROOM, "ALTER ROLE rainbo SUPERUSER"])
def test_a_limit_of_temporary_files_that_a_role_may_change_does_not_count(
    instance: Instance, way: str
) -> None:
    instance.execute("ALTER ROLE rainbo SET work_mem = '64kB'")
    instance.execute("ALTER ROLE rainbo SET temp_file_limit = '64kB'")
    instance.execute(way)
    read(SORT)


def test_a_session_that_ends_before_its_first_query_is_named_and_tried_again(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that is so busy that the login and the first query lie apart."""
    instance.execute("ALTER ROLE rainbo SET idle_session_timeout = '100ms'")
    at_once = transactions.transaction

    def later(source: connections.Connection, **given: Any) -> AbstractContextManager[Any]:
        there = f"SELECT 1 FROM pg_stat_activity WHERE pid = {source.info.backend_pid}"
        until(lambda: not instance.execute(there))
        return at_once(source, **given)

    monkeypatch.setattr(connections, "transaction", later)
    error = failure(lambda: read("SELECT 1"))
    assert isinstance(error, SourceTimeout)
    assert error.transient
    assert "its idle_session_timeout ran out before the first query" in str(error)
    monkeypatch.undo()
    obey(instance, error)
    read("SELECT 1")


def test_a_source_that_limits_the_transaction_itself_is_named(instance: Instance) -> None:
    limited = "SELECT set_config('transaction_timeout', '100ms', true)"
    error = failure(lambda: read(limited, "SELECT pg_sleep(10)"))
    assert isinstance(error, SourceTimeout)
    assert "transaction_timeout, which ran out" in str(error)


@pytest.mark.parametrize(
    "limit", ["statement_timeout", "transaction_timeout", "idle_session_timeout"]
)
def test_no_limit_of_the_own_database_ends_the_engines_session(
    transactional_db: None, postgres_servers: LocalFleet, limit: str
) -> None:
    with postgres_servers["rainbo"].connect() as owner:
        role = os.environ["RAINBO_DB_USER"]
        owner.execute(f"ALTER ROLE {role} SET {limit} = '400ms'")
        try:
            with open_session("test") as session, session.transaction():
                session.execute("SELECT pg_sleep(0.5)")
            own_database.close()
            own_database.ensure_connection()
            time.sleep(0.5)
            with own_database.cursor() as cursor:
                cursor.execute("SELECT 1")
        finally:
            owner.execute(f"ALTER ROLE {role} RESET ALL")
            own_database.close()
