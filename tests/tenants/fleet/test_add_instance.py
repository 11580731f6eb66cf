from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from common.encryption import CredentialError
from common.errors import UsageError
from localfleet.servers import databases
from syncs.errors import ConnectionFailed, LoginRejected, WrongIdentity
from tenants.fleet import connections
from tenants.models import RdsInstance
from tests.instances import Instance, InstanceFleet

VARIABLE = "NEW_PASSWORD"
SECRET = "sesame-" * 4


@pytest.fixture
def rds(fleet: InstanceFleet, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """An instance that RAINBO does not know; its password is in a variable."""
    monkeypatch.setenv(VARIABLE, fleet[2].rainbo_password)
    return fleet[2]


def add(rds: Instance, *words: str, **changes: Any) -> None:
    options = {
        "id": rds.id,
        "name": "rds2",
        "host": rds.host,
        "port": rds.port,
        "database": rds.database,
        "user": rds.user,
        "password-env": VARIABLE,
        "ssl-mode": "disable",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    call_command("add_instance", *given, *words)


def update(*words: str) -> None:
    call_command("add_instance", "--update", "--id=2", *words)


def known() -> RdsInstance:
    return RdsInstance.objects.get(pk=2)


def test_it_is_tried_stored_and_remembered(
    rds: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    add(rds, "--master", app_url="https://two.example.com", notes="second")
    stored = known()
    assert (stored.name, stored.host, stored.port) == ("rds2", rds.host, rds.port)
    assert (stored.is_master, stored.is_active) == (True, True)
    assert (stored.app_url, stored.notes) == ("https://two.example.com", "second")
    assert stored.identity
    assert stored.reveal_password() == rds.rainbo_password
    said = capsys.readouterr()
    assert "check_fleet --rds 2" in said.out
    assert rds.rainbo_password not in said.out + said.err


def test_verify_full_and_scram_unless_told(rds: Instance) -> None:
    add(rds, "--no-check", ssl_mode=None)
    assert (known().ssl_mode, known().require_auth) == ("verify-full", "scram-sha-256")


def test_without_an_id_it_gets_the_next(rds: Instance) -> None:
    add(rds)
    add(rds, "--no-check", id=None, name="next")
    assert RdsInstance.objects.get(name="next").pk == 3


def test_the_password_may_come_from_a_file(rds: Instance, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{rds.rainbo_password}\n")
    add(rds, password_env=None, password_file=file)
    assert known().reveal_password() == rds.rainbo_password


def test_the_password_may_be_asked_for(rds: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: rds.rainbo_password)
    add(rds, password_env=None)
    assert known().reveal_password() == rds.rainbo_password


def test_nothing_is_stored_of_one_that_refuses(
    rds: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    with pytest.raises(LoginRejected) as raised:
        add(rds)
    assert SECRET not in str(raised.value)
    assert not RdsInstance.objects.exists()


def test_nothing_is_stored_of_one_that_is_down(rds: Instance) -> None:
    rds.server.stop()
    with pytest.raises(ConnectionFailed):
        add(rds)
    assert not RdsInstance.objects.exists()
    add(rds, "--no-check")
    assert known().identity == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": None}, "a new instance needs --name"),
        ({"host": None, "user": None}, "a new instance needs --host, --user"),
        ({"password_env": None}, "no password was given"),
        ({"password_env": "UNSET"}, "--password-env names UNSET, which is not set"),
        ({"password_env": None, "password_file": "/nowhere"}, "can't be read: No such file"),
        ({"host": f"rainbo:{SECRET}@db"}, "the host must be one host name"),
        ({"host": "/run/one,/run/two"}, "the host must be one host name"),
        ({"host": "one,two"}, "the host must be one host name"),
        ({"port": 0}, "port: "),
        ({"port": 70000}, "port: "),
        ({"id": 0}, "id: "),
        ({"app_url": "javascript:alert(1)"}, "app url: "),
        ({"tenant_url": "javascript:{tenant}"}, "the tenant URL must be an http or https address"),
        ({"ssl_mode": "verify-ca"}, "verify-ca needs a CA"),
        ({"ssl_ca": "/nowhere"}, "--ssl-ca names /nowhere"),
        ({"ssl_ca": __file__}, "the CA contains no certificates"),
        ({"copy_of": 7}, "--copy-of takes the id of another registered instance"),
    ],
)
def test_what_makes_no_sense_is_refused(rds: Instance, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        add(rds, **changes)
    assert words in str(raised.value)
    assert SECRET not in str(raised.value)
    assert not RdsInstance.objects.exists()


def test_the_master_can_not_be_inactive(rds: Instance) -> None:
    with pytest.raises(UsageError, match="master while it is inactive"):
        add(rds, "--master", "--inactive")


def test_a_registered_id_needs_update(rds: Instance) -> None:
    add(rds)
    with pytest.raises(UsageError, match="use --update to change it"):
        add(rds)


def test_an_unknown_id_can_not_be_updated(rds: Instance) -> None:
    with pytest.raises(UsageError, match="no instance has the id 2"):
        update("--name=new")


def test_a_taken_name_is_refused(rds: Instance) -> None:
    add(rds)
    with pytest.raises(UsageError, match="another instance is named rds2: choose another name"):
        add(rds, "--no-check", id=3)


def test_the_mark_of_the_master_moves(rds: Instance) -> None:
    add(rds, "--master")
    add(rds, "--no-check", "--master", id=3, name="rds3")
    marks = RdsInstance.objects.order_by("pk").values_list("pk", "is_master")
    assert list(marks) == [(2, False), (3, True)]


def test_what_is_left_out_stays(rds: Instance) -> None:
    add(rds, "--master", notes="second")
    update("--name=new")
    assert (known().name, known().notes, known().is_master) == ("new", "second", True)
    assert known().reveal_password() == rds.rainbo_password


@pytest.mark.parametrize(
    "change", ["--host=localhost", "--user=postgres", "--require-auth=md5", "--port=1"]
)
def test_whoever_points_it_elsewhere_must_know_the_password(rds: Instance, change: str) -> None:
    add(rds)
    with pytest.raises(UsageError, match="no password was given"):
        update("--no-check", change)
    update("--no-check", change, f"--password-env={VARIABLE}")
    assert known().reveal_password() == rds.rainbo_password


def test_a_stronger_ssl_mode_needs_no_password_and_a_weaker_does(rds: Instance) -> None:
    add(rds)
    update("--no-check", "--ssl-mode=verify-full")
    with pytest.raises(UsageError, match="a weaker ssl mode needs it again"):
        update("--no-check", "--ssl-mode=disable")


def test_a_new_password(rds: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    add(rds)
    databases.set_role(rds.server, rds.user, SECRET)
    monkeypatch.setenv(VARIABLE, SECRET)
    update(f"--password-env={VARIABLE}")
    assert known().reveal_password() == SECRET


def test_a_password_that_no_key_opens_is_asked_for_again(rds: Instance) -> None:
    add(rds)
    token = known().password
    RdsInstance.objects.create(pk=3, name="other", host="h", database="d", user="u", password=token)
    with pytest.raises(UsageError, match="no password was given"):
        call_command("add_instance", "--update", "--id=3", "--name=x", "--no-check")
    with pytest.raises(CredentialError):
        RdsInstance.objects.get(pk=3).reveal_password()


def test_a_rebuilt_server_must_be_accepted(rds: Instance) -> None:
    add(rds)
    before = known().identity
    databases.drop(rds.server, "app")
    rds.reset()
    with pytest.raises(WrongIdentity):
        update("--name=new")
    update("--accept-rebuilt")
    assert known().identity not in ("", before)
    with connections.connect(known(), "test"):
        pass


def test_a_copy_must_be_called_one(rds: Instance) -> None:
    add(rds)
    with pytest.raises(WrongIdentity, match="--copy-of 2"):
        add(rds, id=3, name="shard")
    add(rds, "--copy-of=2", id=3, name="shard")
    shard = RdsInstance.objects.get(pk=3)
    assert (shard.copy_of_id, shard.identity) == (2, known().identity)


def test_a_password_of_broken_bytes_is_refused(
    rds: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environb, VARIABLE.encode(), b"caf\xe9")
    with pytest.raises(UsageError, match="no server accepts"):
        add(rds)
    assert not RdsInstance.objects.exists()


@pytest.mark.parametrize("ssl_mode", ["disable", "allow", "prefer"])
def test_a_password_in_clear_needs_encryption(rds: Instance, ssl_mode: str) -> None:
    with pytest.raises(UsageError, match="in clear text needs an ssl mode that encrypts"):
        add(rds, "--no-check", ssl_mode=ssl_mode, require_auth="password")
    add(rds, "--no-check", ssl_mode="require", require_auth="password")
    assert known().require_auth == "password"


@pytest.mark.django_db
def test_what_is_missing_is_named_before_the_password() -> None:
    with pytest.raises(UsageError, match="a new instance needs --name, --host"):
        call_command("add_instance")
