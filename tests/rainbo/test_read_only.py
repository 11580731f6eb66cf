"""RAINBO's own database accepts no writes: one sentence everywhere, and it recovers by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta

import django
import psycopg
import pytest
from django.db import InternalError, connection
from django.test import Client
from django.utils import timezone

import manage
from common.read_only import READ_ONLY, is_read_only
from localfleet.servers.fleet import LocalFleet
from rainbo.logs import Text
from syncs.engine import runs
from syncs.engine.closing import Ending
from syncs.engine.options import Options
from syncs.models import Heartbeat, SyncRun, Trigger
from syncs.transfer.session import open_session
from tests.rows import instance_row, staff

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "The RAINBO database is unavailable"
REASON = "It is read-only: it is a standby, or its disk is full."


class Switch:
    def __init__(self, server: psycopg.Connection) -> None:
        self.server = server

    def set(self, value: str) -> None:
        """For sessions that begin from now on, as after a failover or `ALTER DATABASE … SET`."""
        name = connection.settings_dict["NAME"]
        self.server.execute(f'ALTER DATABASE "{name}" {value}')


@pytest.fixture
def switch(postgres_servers: LocalFleet) -> Iterator[Switch]:
    with postgres_servers["rainbo"].connect() as session:
        switch = Switch(session)
        yield switch
        switch.set("RESET default_transaction_read_only")
    connection.close()


@pytest.fixture
def reader(client: Client) -> Client:
    """Signed in; what a page raises is answered."""
    client.force_login(staff("reader", is_superuser=True))
    client.raise_request_exception = False
    return client


@pytest.fixture
def read_only(reader: Client, switch: Switch) -> Switch:
    instance_row(2)
    # Old enough to be deleted by prune_runs.
    Heartbeat.objects.create(worker="a", at=timezone.now() - timedelta(days=9))
    switch.set("SET default_transaction_read_only = on")
    connection.close()
    return switch


def test_a_page_that_writes_says_so(reader: Client, read_only: Switch) -> None:
    answer = reader.post("/admin/auth/group/add/", {"name": "new"})
    assert answer.status_code == 503
    assert answer["Retry-After"] == "30"
    assert PAGE in answer.content.decode()
    assert REASON in answer.content.decode()


@pytest.mark.parametrize("address", ["/admin/", "/admin/syncs/syncrun/", "/admin/find/?q=x"])
def test_a_page_whose_session_is_noted_says_so(
    reader: Client, read_only: Switch, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """The sessions' middleware calls it a bad request when it can't save."""
    monkeypatch.setattr("rainbo.auth.sessions.NOTE_EVERY", -1)
    answer = reader.get(address)
    assert answer.status_code == 503
    assert REASON in answer.content.decode()


def test_signing_in_says_so(client: Client, read_only: Switch) -> None:
    client.raise_request_exception = False
    answer = client.post("/admin/login/", {"username": "reader", "password": "x"})
    assert answer.status_code == 503
    assert REASON in answer.content.decode()


def test_a_bad_request_stays_one(reader: Client) -> None:
    answer = reader.get("/admin/syncs/syncrun/?nothing__of__ours=1")
    assert answer.status_code in {302, 400}


def test_it_is_not_ready(client: Client, read_only: Switch) -> None:
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["reason"] == READ_ONLY


def test_it_recovers_by_itself(client: Client, reader: Client, read_only: Switch) -> None:
    """The session that met it is replaced, though it would stay read-only."""
    assert reader.post("/admin/auth/group/add/", {"name": "new"}).status_code == 503
    read_only.set("RESET default_transaction_read_only")
    assert client.get("/health/ready").status_code == 200
    assert connection.connection is not None
    connection.close_if_unusable_or_obsolete()  # as before each request of a web process
    assert reader.post("/admin/auth/group/add/", {"name": "new"}).status_code == 302


COMMANDS = [
    ["sync_user_routing"],
    ["sync_all"],
    ["setup_schedules"],
    ["prune_runs", "--older-than", "1"],
    ["rotate_credentials"],
    ["add_instance", "--update", "--id", "2", "--notes", "x", "--no-check"],
    ["schedule_run"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_command_fails_with_one_sentence(
    read_only: Switch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    # It would configure the logs again, with a stream that ends with this test.
    monkeypatch.setattr(django, "setup", lambda: None)
    with pytest.raises(SystemExit) as stop:
        manage.main(["manage.py", *words])
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"{READ_ONLY}.\n"


def test_a_log_has_the_sentence_and_no_traceback(read_only: Switch) -> None:
    with pytest.raises(InternalError) as raised:
        runs.request("user_routing", Options(), Trigger.COMMAND, "")
    failed = (InternalError, raised.value, raised.tb)
    record = logging.LogRecord("django-q", logging.ERROR, "", 0, "Could not save", (), failed)
    assert Text("%(message)s").format(record) == f"Could not save: {READ_ONLY}"


def test_a_run_that_meets_it_is_retried(read_only: Switch) -> None:
    with open_session("test") as session, pytest.raises(psycopg.Error) as raised:
        session.execute("DELETE FROM user_routes")
    ending = Ending.by(SyncRun(sync="user_routing"), raised.value)
    assert (ending.error, ending.transient) == (READ_ONLY, True)


def test_an_instance_that_is_read_only_is_not_our_database() -> None:
    assert not is_read_only(psycopg.errors.ReadOnlySqlTransaction())
