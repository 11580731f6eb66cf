"""The settings of production: checked by Django, and with static files that can be collected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCTION = {
    "RAINBO_DEBUG": "off",
    "RAINBO_HTTPS": "on",
    "RAINBO_COLLECTED_STATIC": "on",
    "RAINBO_ALLOWED_HOSTS": "rainbo.example.com",
}


def manage(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *args],
        cwd=ROOT,
        env={**os.environ, **PRODUCTION, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_production_settings_pass_djangos_own_checks() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("RAINBO_DEBUG", "on", "security.W018"),
        ("RAINBO_HTTPS", "off", "security.W008"),
        ("RAINBO_SECRET_KEY", "short", "security.W009"),
        ("RAINBO_DB_HOST", "db.example.com", "rainbo.W001"),
    ],
)
def test_what_production_must_not_have_is_told(name: str, value: str, why: str) -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", **{name: value})
    assert done.returncode == 1
    assert why in done.stderr


def test_static_files_are_collected_under_names_with_their_hash(tmp_path: Path) -> None:
    done = manage("collectstatic", "--noinput", RAINBO_STATIC_ROOT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "staticfiles.json").exists()
    assert list(tmp_path.glob("unfold/css/styles.*.css.gz"))
