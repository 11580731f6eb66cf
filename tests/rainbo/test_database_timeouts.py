from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django.db import connection, connections
from django.test import Client

from localfleet.servers.fleet import LocalFleet
from rainbo import database_timeouts
from tests.rows import staff

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/tenants/rdsinstance/"


@pytest.fixture
def reader(client: Client) -> Client:
    """Signed in; what a page raises is answered."""
    client.force_login(staff("reader", is_superuser=True))
    client.raise_request_exception = False
    return client


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process waits as a web process does, with a shorter timeout."""
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "options", options["options"])
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    monkeypatch.setattr(database_timeouts, "STATEMENT", 1)
    database_timeouts.limit_waiting()
    connection.close()
    yield
    connection.close()


@pytest.fixture
def blocked(postgres_servers: LocalFleet) -> Iterator[None]:
    """Somebody holds the table of instances."""
    name = connection.settings_dict["NAME"]
    with postgres_servers["rainbo"].connect(name, autocommit=False) as other:
        other.execute("LOCK TABLE rds_instances IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


def test_a_page_that_waits_too_long_says_so(reader: Client, impatient: None, blocked: None) -> None:
    start = time.monotonic()
    answer = reader.get(LIST)
    assert answer.status_code == 503
    assert time.monotonic() - start < 6
    assert "The RAINBO database is unavailable" in answer.content.decode()
    assert answer["Retry-After"] == "30"


def test_the_next_page_is_served(reader: Client, impatient: None) -> None:
    assert reader.get(LIST).status_code == 200


def test_a_database_that_is_away_is_said_to_be(
    reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", 1)
    assert reader.get(LIST).status_code == 503


def test_another_fault_is_none_of_the_database(
    reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.admin.instances.InstanceAdmin.complete", None)
    answer = reader.get(LIST)
    assert answer.status_code == 500
    assert "Something went wrong" in answer.content.decode()


def test_commands_wait_as_long_as_it_takes() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
        )
        assert cursor.fetchone() == ("0", "0")


def test_a_web_process_does_not() -> None:
    code = (
        "import rainbo.wsgi; from django.db import connection;"
        "print(connection.get_connection_params()['options'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "statement_timeout=10s" in done.stdout
    assert "lock_timeout=8s" in done.stdout
