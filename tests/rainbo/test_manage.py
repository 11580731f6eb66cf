from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import manage
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
