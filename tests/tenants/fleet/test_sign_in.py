"""Signing in by SCRAM keys, on real servers: what they are bound to, and what if they fail.

A server's log counts its failed logins. A new process is one that remembers nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet
from django.db import transaction
from psycopg import sql
from pytest_django import Settings

from common import key_rotation, redaction
from localfleet.folders import local_root, scratch_root
from localfleet.servers import databases
from localfleet.servers.server import Server
from syncs.errors import LoginRejected
from syncs.models import RunLog, RunState
from tenants.fleet import connections, scram_store, sign_in
from tenants.fleet.connection_budget import BUDGET
from tenants.fleet.scram_store import Place
from tenants.models import RdsInstance, ScramKeys
from tests import pooler
from tests.caches import query, run_sync
from tests.fleet_fixtures import needs
from tests.instances import Instance, InstanceFleet

FAILED = "password authentication failed"
# Advisory locks of RAINBO's sessions for visits.
LOCKS = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND application_name = 'rainbo/connections'"""
OLD = "UPDATE scram_keys SET at = at - interval '2 days'"


@pytest.fixture(autouse=True)
def new_process() -> Iterator[Callable[[], None]]:
    """Forgets what a process remembers of keys."""
    sign_in._found.clear()
    yield sign_in._found.clear
    sign_in._found.clear()


def known(number: int = 2) -> RdsInstance:
    return RdsInstance.objects.get(pk=number)


def place(row: RdsInstance) -> Place:
    return Place(row.host, row.port, row.user)


def why(number: int = 2, *, remembers: bool = False) -> str:
    """Why a visit signs in by the password; empty if it does by keys."""
    if not remembers:
        sign_in._found.clear()
    with connections.connect(known(number), "test") as source:
        given = {option.keyword for option in source.pgconn.info if option.val}
        assert (b"scram_client_key" in given) == (b"password" not in given)
        assert (b"password" in given) == bool(source.why_password)
        return source.why_password


class Failures:
    """Failed logins of a server since the last count."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seen = self._all()

    def new(self) -> int:
        before, self.seen = self.seen, self._all()
        return self.seen - before

    def _all(self) -> int:
        return self.server.log_text().count(f"FATAL:  {FAILED}")


def make_again(instance: Instance, password: str = "") -> None:
    """Give the role another verifier, by default of the same password."""
    databases.set_role(instance.server, instance.user, password or instance.rainbo_password)


def test_the_first_visit_takes_the_password_and_the_next_ones_keys(
    registered: InstanceFleet,
) -> None:
    assert why() == scram_store.NONE_STORED
    assert why() == ""
    assert why(remembers=True) == ""
    assert why(3) == scram_store.NONE_STORED
    ((stored,),) = query("SELECT keys FROM scram_keys WHERE port = %s", registered[2].port)
    assert stored.startswith("gAAAA")


def test_a_new_verifier_costs_one_failed_login(registered: InstanceFleet) -> None:
    why()
    query(OLD)
    failures = Failures(registered[2].server)
    make_again(registered[2])
    assert why() == sign_in.REJECTED
    assert failures.new() == 1
    assert [why(), why()] == ["", ""]
    assert failures.new() == 0


def test_a_new_verifier_is_noticed_within_a_process(registered: InstanceFleet) -> None:
    why()
    query(OLD)
    assert why(remembers=True) == ""
    failures = Failures(registered[2].server)
    make_again(registered[2])
    assert why(remembers=True) == sign_in.REJECTED
    assert failures.new() == 1
    assert [why(remembers=True), why()] == ["", ""]
    assert failures.new() == 0


def test_keys_that_lasted_less_than_a_day_are_not_derived_again_before_it_is_over(
    registered: InstanceFleet,
) -> None:
    why()
    failures = Failures(registered[2].server)
    make_again(registered[2])
    assert why() == sign_in.REJECTED
    make_again(registered[2])
    assert [why(), why(remembers=True)] == [scram_store.UNUSABLE] * 2
    assert failures.new() == 1
    assert query("SELECT keys FROM scram_keys") == [(None,)]
    query(OLD)
    assert [why(), why()] == [scram_store.NONE_STORED, ""]
    assert failures.new() == 0


def test_many_visits_at_once_fail_once(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As to many databases of one server."""
    monkeypatch.setattr(sign_in, "WAIT", 30)
    why()
    query(OLD)
    make_again(registered[2])
    failures = Failures(registered[2].server)
    sign_in._found.clear()
    ready = threading.Barrier(8)

    def visit(row: RdsInstance) -> str:
        ready.wait()
        password = row.reveal_password()
        parameters = connections._parameters(row, "")
        parameters |= {"host": row.host, "port": row.port}
        with sign_in.connect(row, place(row), password, parameters) as source:
            return source.why_password

    with BUDGET.connection_to(known()), ThreadPoolExecutor(8) as threads:
        found = list(threads.map(visit, [known() for _ in range(8)]))
    assert failures.new() == 1
    assert sorted(found) == [""] * 7 + [sign_in.REJECTED]


def test_only_one_process_tries_keys(registered: InstanceFleet) -> None:
    why()
    failures = Failures(registered[2].server)
    make_again(registered[2])
    row = known()
    bound = scram_store.binding(row, place(row), row.reveal_password())
    lock = scram_store._sql(
        sql.SQL("SELECT pg_advisory_lock({lock}, hashtext({name}))"), place(row)
    )
    query(lock.as_string())
    assert why() == sign_in.BUSY
    assert failures.new() == 0
    query("SELECT pg_advisory_unlock_all()")
    with BUDGET.connection_to(row), scram_store.claimed(place(row), bound) as stored:
        assert stored is not None
        assert stored.keys is not None


def test_a_password_that_is_wrong_is_tried_once_at_each_visit(registered: InstanceFleet) -> None:
    why()
    failures = Failures(registered[2].server)
    make_again(registered[2], "another")
    for failed in (2, 1, 1):
        with pytest.raises(LoginRejected):
            why()
        assert failures.new() == failed
    row = known()
    row.set_password("another")
    row.save()
    assert [why(), why()] == [scram_store.NONE_STORED, ""]
    assert failures.new() == 0


def test_a_database_that_is_gone_leaves_the_keys(registered: InstanceFleet) -> None:
    """They are of a role at a server, which other databases have, too."""
    why()
    RdsInstance.objects.filter(pk=2).update(database="gone")
    with pytest.raises(LoginRejected, match="has no database gone"):
        why()
    RdsInstance.objects.filter(pk=2).update(database=registered[2].database)
    assert why() == ""


def test_a_changed_instance_has_none(registered: InstanceFleet) -> None:
    why()
    row = known()
    row.notes = "changed"
    row.save(update_fields=["notes"])
    assert ScramKeys.objects.exists()
    row.set_password(registered[2].rainbo_password)
    row.save()
    assert not ScramKeys.objects.exists()
    why()
    why(3)
    row.delete()
    assert [keys.port for keys in ScramKeys.objects.all()] == [registered[3].port]


def test_a_visit_with_the_password_of_before_stores_nothing(registered: InstanceFleet) -> None:
    row = known()
    RdsInstance.objects.filter(pk=2).update(password=known(3).password)
    with connections.connect(row, "test") as source:
        assert source.why_password == scram_store.NONE_STORED
    assert not ScramKeys.objects.exists()


def elsewhere(row: RdsInstance) -> None:
    query("UPDATE scram_keys SET port = %s", row.port)


def weaker(row: RdsInstance) -> None:
    row.ssl_mode = "disable"


def of_another_ca(row: RdsInstance) -> None:
    row.ssl_ca = "another"


def of_another_password(row: RdsInstance) -> None:
    row.set_password("another")


def of_another_role(row: RdsInstance) -> None:
    query('UPDATE scram_keys SET "user" = %s', "other")
    row.user = "other"


@pytest.mark.parametrize(
    "change", [elsewhere, weaker, of_another_ca, of_another_password, of_another_role]
)
def test_keys_are_bound(registered: InstanceFleet, change: Callable[[RdsInstance], None]) -> None:
    """To host, port, role, CA, password, and to an ssl mode as strong."""
    RdsInstance.objects.update(ssl_mode="prefer")
    row = known()
    row.set_password(registered[2].rainbo_password)
    row.save()
    why()
    stored = known(3) if change is elsewhere else known()
    if change is elsewhere:
        stored.set_password(registered[2].rainbo_password)
    password = stored.reveal_password()
    change(stored)
    password = "another" if change is of_another_password else password
    bound = scram_store.binding(stored, place(stored), password)
    with BUDGET.connection_to(stored), scram_store.claimed(place(stored), bound) as found:
        assert found is not None
        assert found.encrypted is not None
        assert (found.keys, found.may_derive) == (None, False)


MD5 = "host all rainbo all md5\n"


@pytest.fixture
def rules(registered: InstanceFleet) -> Iterator[None]:
    """Restores pg_hba.conf."""
    path = registered[2].server.data / "pg_hba.conf"
    before = path.read_text()
    yield
    path.write_text(before)
    registered[2].execute("SELECT pg_reload_conf(), pg_sleep(0.3)")


def no_switch(_: InstanceFleet, settings: Settings) -> str:
    settings.RAINBO_SCRAM_KEYS = False
    return "RAINBO_SCRAM_KEYS is off"


def by_md5(fleet: InstanceFleet, _: Settings) -> str:
    rules = fleet[2].server.data / "pg_hba.conf"
    rules.write_text(f"{MD5}{rules.read_text()}")
    fleet[2].execute("SELECT pg_reload_conf(), pg_sleep(0.3)")
    fleet[2].execute("SET password_encryption = 'md5'; ALTER ROLE rainbo PASSWORD 'simple'")
    RdsInstance.objects.filter(pk=2).update(require_auth="md5")
    row = known()
    row.set_password("simple")
    row.save()
    return "its authentication method is md5"


def not_ascii(fleet: InstanceFleet, _: Settings) -> str:
    make_again(fleet[2], "naïve ½")
    row = known()
    row.set_password("naïve ½")
    row.save()
    return "its password is not ASCII"


def by_command(fleet: InstanceFleet, settings: Settings) -> str:
    settings.RAINBO_PASSWORD_COMMANDS = {"*": f"echo {fleet[2].rainbo_password}"}
    return "a command returns its password"


@pytest.mark.parametrize("change", [no_switch, by_md5, not_ascii, by_command])
def test_where_keys_are_not_used(
    registered: InstanceFleet,
    rules: None,
    settings: Settings,
    change: Callable[[InstanceFleet, Settings], str],
) -> None:
    said = change(registered, settings)
    assert [why(), why()] == [said, said]
    assert not ScramKeys.objects.exists()


def test_a_server_has_to_prove_that_it_knows_them(registered: InstanceFleet) -> None:
    """One that has the half by which it checks a client, and not its own."""
    why()
    ((verifier,),) = registered[2].execute(
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'rainbo'"
    )
    half, _ = verifier.rsplit(":", 1)
    registered[2].execute(
        sql.SQL("ALTER ROLE rainbo PASSWORD {}").format(sql.Literal(f"{half}:{'A' * 43}="))
    )
    with pytest.raises(Exception, match="incorrect server signature"):
        why()


def test_a_store_that_cannot_be_used_hinders_no_visit(registered: InstanceFleet) -> None:
    why()
    query("ALTER TABLE scram_keys RENAME TO hidden")
    try:
        assert why() == scram_store.UNREAD
    finally:
        query("ALTER TABLE hidden RENAME TO scram_keys")
    with transaction.atomic(), BUDGET.connection_to(known(3)):
        session = BUDGET._session
        query("LOCK TABLE scram_keys")
        assert why() == scram_store.UNREAD
        assert BUDGET._session is session  # with all its locks
        assert query(LOCKS) == [(1,)]
    query("ALTER TABLE scram_keys ADD CONSTRAINT none_fits CHECK (port < 0) NOT VALID")
    try:
        assert why(3) == scram_store.NONE_STORED
        assert why(3, remembers=True) == ""
    finally:
        query("ALTER TABLE scram_keys DROP CONSTRAINT none_fits")
    assert why() == ""


def test_a_pooler_has_a_verifier_of_its_own(registered: InstanceFleet) -> None:
    needs(pooler.PROGRAM, "PgBouncer is not installed: apt install pgbouncer")
    instance = registered[2]
    users = {instance.user: instance.rainbo_password}
    with scratch_root(local_root()) as root:
        with pooler.pooler(root, instance.server, users) as port:
            row = known()
            row.port = port
            row.set_password(instance.rainbo_password)
            row.save()
            assert why() == scram_store.NONE_STORED
            assert why() in ("", sign_in.REJECTED)
        with pooler.pooler(root, instance.server, users, port=port):
            first = [why() for _ in range(4)]
    assert set(first) <= {"", sign_in.REJECTED, scram_store.UNUSABLE}
    assert first.count(sign_in.REJECTED) <= 1


def test_a_run_says_where_and_why_the_password_was_used(
    registered: InstanceFleet, settings: Settings
) -> None:
    for expected in ([f"1, 2, 3 ({scram_store.NONE_STORED})"], []):
        sign_in._found.clear()
        run = run_sync("tenant_summaries")
        assert run.state == RunState.SUCCEEDED
        said = RunLog.objects.filter(run=run, message__contains="SCRAM")
        assert [line.message for line in said] == [
            f"signed in by password, not by SCRAM keys: instances {text}" for text in expected
        ]
    settings.RAINBO_SCRAM_KEYS = False
    run = run_sync("instance_health", targets=("2",))
    assert RunLog.objects.filter(run=run, message__contains="instance 2 (RAINBO_SCRAM_KEYS is off)")


def test_keys_are_encrypted_again_with_the_newest_key(
    registered: InstanceFleet, settings: Settings
) -> None:
    why()
    new = Fernet.generate_key().decode()
    settings.RAINBO_CREDENTIAL_KEYS = [new, *settings.RAINBO_CREDENTIAL_KEYS]
    rotation = key_rotation.rotate_all()
    assert (rotation.renewed, rotation.lost) == (4, ())
    settings.RAINBO_CREDENTIAL_KEYS = [new]
    assert why() == ""


def test_nothing_shows_them(registered: InstanceFleet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    why()
    why()
    row = known()
    bound = scram_store.binding(row, place(row), row.reveal_password())
    with BUDGET.connection_to(row), scram_store.claimed(place(row), bound) as stored:
        assert stored is not None
        keys = stored.keys
    assert keys is not None
    shown = f"{keys!r} {stored!r} {ScramKeys.objects.get()!r} {sign_in._found!r} {caplog.text}"
    for secret in (keys.client, keys.server, row.reveal_password()):
        assert secret not in shown
    for name, value in keys.parameters.items():
        assert not value or value not in redaction.redact(f"{name}={value}")
        assert redaction.redact_value(name, value or "x") == "***"
