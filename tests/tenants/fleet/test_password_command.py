"""Passwords that a command returns at each connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from localfleet.servers import databases
from syncs.errors import LoginRejected
from tenants.fleet import connections, password_command
from tenants.fleet.password_command import PasswordCommandFailed
from tenants.models import RdsInstance
from tests.instances import InstanceFleet

Use = Callable[[str], Path]


@pytest.fixture
def use(settings: Settings, tmp_path: Path) -> Iterator[Use]:
    """Makes a program of these lines the command for 127.0.0.1; returns what counts its runs."""
    runs = tmp_path / "runs"

    def write(lines: str) -> Path:
        program = tmp_path / "token"
        program.write_text(f"#!/bin/sh\necho run >> {runs}\n{lines}\n")
        program.chmod(0o700)
        settings.RAINBO_PASSWORD_COMMANDS = {
            "127.0.0.*": f"{program} '{{host}}' {{port}} {{user}} 'a b'"
        }
        runs.write_text("")
        return runs

    yield write
    password_command._known.clear()


def enter(number: int = 2) -> None:
    with connections.connect(RdsInstance.objects.get(pk=number), "test"):
        pass


def refusal() -> str:
    with pytest.raises(PasswordCommandFailed) as raised:
        enter()
    return str(raised.value)


def test_its_output_is_the_password(registered: InstanceFleet, use: Use) -> None:
    instance = registered[2]
    runs = use(
        f'[ "$1 $2 $3 $4" = "127.0.0.1 {instance.port} rainbo a b" ] || exit 9\n'
        f"echo '{instance.rainbo_password}'"
    )
    row = RdsInstance.objects.get(pk=2)
    row.set_password("not this one")
    row.save()
    enter()
    enter()
    assert runs.read_text() == "run\n"  # the second connection used it again


def test_a_rejected_password_is_forgotten(registered: InstanceFleet, use: Use) -> None:
    runs = use(f"echo '{registered[2].rainbo_password}'")
    enter()
    databases.set_role(registered[2].server, "rainbo", "rotated")
    with pytest.raises(LoginRejected):
        enter()
    use("echo rotated")
    enter()
    assert runs.read_text() == "run\n"


def test_it_is_run_again_after_its_life(
    registered: InstanceFleet, use: Use, settings: Settings
) -> None:
    settings.RAINBO_PASSWORD_SECONDS = 0
    runs = use(f"echo '{registered[2].rainbo_password}'")
    enter()
    enter()
    assert runs.read_text() == "run\nrun\n"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("echo secret-of-tests >&2; exit 3", "ended with exit code 3"),
        ("exit 0", "must write the password, and nothing else, as one line"),
        ("echo one; echo two", "must write the password, and nothing else, as one line"),
        ("printf '\\377'", "must write the password, and nothing else, as one line"),
        ("head -c 9000 /dev/zero | tr '\\0' x", "must write the password"),
    ],
)
def test_what_goes_wrong_is_said_without_its_output(
    registered: InstanceFleet, use: Use, lines: str, words: str
) -> None:
    use(lines)
    said = refusal()
    assert words in said
    assert "secret-of-tests" not in said


def test_one_that_hangs_is_stopped(
    registered: InstanceFleet, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_command, "TIMEOUT", 0.3)
    use("exec sleep 60")
    assert "took more than 0.3 s" in refusal()


def test_one_that_does_not_exist(registered: InstanceFleet, settings: Settings) -> None:
    settings.RAINBO_PASSWORD_COMMANDS = {"*": "/nowhere/token {host}"}
    assert "can't be run: No such file or directory" in refusal()


def test_it_gets_none_of_rainbos_secrets(registered: InstanceFleet, use: Use) -> None:
    use(f"env | grep -q RAINBO_ && exit 7; echo '{registered[2].rainbo_password}'")
    enter()


def test_a_server_that_does_not_prove_who_it_is_gets_none(
    registered: InstanceFleet, settings: Settings
) -> None:
    settings.RAINBO_PASSWORD_COMMANDS = {"*.example.com": "/bin/echo secret-of-tests"}
    RdsInstance.objects.filter(pk=2).update(host="db.example.com", ssl_mode="require")
    said = refusal()
    assert "needs an ssl mode that proves who the server is, not require" in said
    assert "secret-of-tests" not in said


def test_the_stored_password_stays(registered: InstanceFleet, use: Use) -> None:
    instance = registered[2]
    use(f"echo '{instance.rainbo_password}'")
    call_command("add_instance", "--update", "--id=2", "--notes=new")
    row = RdsInstance.objects.get(pk=2)
    assert (row.notes, row.reveal_password()) == ("new", instance.rainbo_password)
    call_command("add_instance", "--update", "--id=2", "--host=127.0.0.2", "--no-check")
    assert RdsInstance.objects.get(pk=2).reveal_password() == ""


def test_an_instance_is_registered_without_a_password(
    registered: InstanceFleet, use: Use, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = registered[2]
    use(f"echo '{instance.rainbo_password}'")
    call_command(
        *("add_instance", "--id=7", "--name=seven", "--host=127.0.0.1", f"--port={instance.port}"),
        *("--database=app", "--user=rainbo", "--ssl-mode=disable", "--copy-of=2"),
    )
    assert "seven" in capsys.readouterr().out
    enter(7)
