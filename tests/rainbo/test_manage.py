from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class

import manage
from common.command import SETTINGS
from common.errors import RainboError, UsageError

ROOT = Path(__file__).parents[2]


def break_commands(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(argv: list[str]) -> None:
        raise error

    monkeypatch.setattr(manage, "execute_from_command_line", fail)


@pytest.mark.parametrize(("kind", "code"), [(RainboError, 1), (UsageError, 2)])
def test_a_foreseen_failure_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: type[RainboError],
    code: int,
) -> None:
    break_commands(monkeypatch, kind("instance 2 is down"))
    with pytest.raises(SystemExit) as stop:
        manage.main(["manage.py", "check"])
    assert stop.value.code == code
    assert capsys.readouterr().err == "instance 2 is down\n"


def test_the_sentence_steers_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_commands(monkeypatch, RainboError("instance \x1b[2J is down"))
    with pytest.raises(SystemExit):
        manage.main(["manage.py", "check"])
    assert capsys.readouterr().err == "instance \\u001b[2J is down\n"


def test_an_unforeseen_failure_is_logged_and_goes_on_its_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_commands(monkeypatch, RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        manage.main(["manage.py", "check"])
    assert "the command check failed" in caplog.text


def test_a_person_can_ask_for_the_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_commands(monkeypatch, RainboError("broken"))
    with pytest.raises(RainboError):
        manage.main(["manage.py", "check", "--traceback"])
    assert "Traceback" in caplog.text


def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_variable_is_one_sentence() -> None:
    done = run("migrate", RAINBO_SECRET_KEY="")
    assert done.returncode == 1
    assert done.stderr.startswith("RAINBO_SECRET_KEY is not set: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["migrate", "sync_all", "find_user a@example.com"])
def test_an_own_database_that_is_away_is_one_sentence(command: str) -> None:
    done = run(*command.split(), RAINBO_DB_HOST="127.0.0.1", RAINBO_DB_PORT="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "RAINBO's own database (rainbo on 127.0.0.1, port 1) cannot be used" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_password_of_the_own_database_is_not_repeated() -> None:
    done = run("migrate", RAINBO_DB_PASSWORD="hunter2-Zz", RAINBO_LOG_LEVEL="DEBUG")
    assert done.returncode == 1
    assert "password authentication failed" in done.stderr
    assert "Traceback" in done.stderr
    assert "hunter2-Zz" not in done.stderr + done.stdout


def test_a_failure_on_the_command_line_tells_no_secret() -> None:
    done = run("migrate", RAINBO_DB_PORT="1", RAINBO_DB_USER="password=hunter2-Zz")
    assert done.returncode == 1
    assert "hunter2-Zz" not in done.stderr + done.stdout


def test_an_empty_own_database_says_to_migrate() -> None:
    done = run("find_user", "a@example.com")
    assert done.returncode == 1
    assert done.stderr.endswith("is not up to date: run manage.py migrate.\n")


def test_a_reader_who_has_enough_sees_no_traceback() -> None:
    """As `manage.py help | head -1` does, at a time when nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [sys.executable, "manage.py", "help"],
            cwd=ROOT,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")


# Pages, the API, two HTTP libraries, signatures and certificates: half a second of processor
HEAVY = {"tenants.admin.tenants", "unfold.admin", "ninja", "pydantic", "requests", "authlib", "jwt"}
HEAVY |= {"cryptography.x509"}
WITH_ALL_CHECKS = {"qcluster", "schedule_work", "diffsettings"}


def loaded_by(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "rainbo.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_a_command_loads_nothing_that_it_does_not_need() -> None:
    loaded = loaded_by("manage.py", "schedule_list", "--help")
    assert "syncs.reports.schedule_report" in loaded
    assert not HEAVY & loaded


def test_a_check_of_the_pages_loads_them_first() -> None:
    code = "import django; django.setup(); from django.core import checks; "
    loaded = loaded_by("-c", code + "assert not checks.run_checks(tags=['admin'])")
    assert "tenants.admin.tenants" in loaded
    assert "rainbo.urls" not in loaded


def test_commands_check_the_settings_alone() -> None:
    found = {
        name: load_command_class(app, name).requires_system_checks
        for name, app in get_commands().items()
        if apps.is_installed(app)
        and apps.get_app_config(app.rpartition(".")[2]).path.startswith(str(ROOT / app))
    }
    assert "rainbo_status" in found
    other = {name for name, checks in found.items() if checks != [SETTINGS]}
    assert other == WITH_ALL_CHECKS


def test_a_wrong_setting_stops_a_command() -> None:
    done = run("schedule_list", RAINBO_CREDENTIAL_KEYS="no key")
    assert done.returncode == 1
    assert "rainbo.E002" in done.stderr
