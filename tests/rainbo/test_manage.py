import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management.base import BaseCommand

import manage

ROOT = Path(__file__).parents[2]


def test_a_failing_command_is_logged_and_goes_on_its_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: BaseCommand, *args: object, **options: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("django.core.management.commands.check.Command.handle", fail)
    with pytest.raises(RuntimeError, match="broken"):
        manage.main(["manage.py", "check"])
    assert "the command check failed" in caplog.text


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "migrate"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_variable_is_one_sentence() -> None:
    done = run(RAINBO_SECRET_KEY="")
    assert done.returncode == 1
    assert "RAINBO_SECRET_KEY is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failure_on_the_command_line_tells_no_secret() -> None:
    done = run(RAINBO_DB_PORT="1", RAINBO_DB_USER="password=hunter2-Zz")
    assert done.returncode == 1
    assert "the command migrate failed" in done.stderr
    assert done.stderr.count("Traceback (most recent call last)") <= 2
    assert "hunter2-Zz" not in done.stderr + done.stdout
