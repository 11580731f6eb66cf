"""A process of the web server refuses what `manage.py check` calls an error, and says which."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from django.contrib.auth.models import Group
from django.test import Client
from pytest_django import Settings

from localfleet.servers.server import free_port
from rainbo import startup
from tests.rows import staff
from tests.web_server import web_server

ROOT = Path(__file__).parents[2]
SHORT = "too-short-for-a-key"


def started(**env: str) -> subprocess.CompletedProcess[str]:
    """What gunicorn says that ends by itself."""
    command = [sys.executable, "-m", "gunicorn", "rainbo.wsgi", "--no-control-socket"]
    return subprocess.run(
        [*command, "--bind", f"127.0.0.1:{free_port()}"],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"RAINBO_CREDENTIAL_KEYS": SHORT}, "RAINBO_CREDENTIAL_KEYS"),
        ({"RAINBO_LEASE_RENEWAL": "50", "RAINBO_LEASE_TTL": "60"}, "rainbo.E007"),
        ({"RAINBO_COLLECTED_STATIC": "on"}, "run manage.py collectstatic"),
    ],
    ids=["credential key", "lease", "static files"],
)
def test_it_does_not_start(env: dict[str, str], said: str, tmp_path: Path) -> None:
    done = started(**env, RAINBO_STATIC_ROOT=str(tmp_path))
    assert done.returncode == startup.BOOT_ERROR
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert SHORT not in done.stderr


@pytest.mark.parametrize("command", ["qcluster", "schedule_work", "schedule_run"])
def test_nor_do_workers(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", command],
        cwd=ROOT,
        env=os.environ | {"RAINBO_LEASE_RENEWAL": "50", "RAINBO_LEASE_TTL": "60"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "rainbo.E007" in done.stderr


@pytest.mark.django_db
def test_readiness_says_which_check_of_the_database_fails(
    client: Client, settings: Settings
) -> None:
    assert client.get("/health/ready").status_code == 200
    settings.RAINBO_REQUIRE_MFA = ["sytem_admin"]
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "'sytem_admin', which is no group" in answer.json()["reason"]


@pytest.mark.django_db
def test_readiness_knows_that_the_static_files_are_gone(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "missing_files", lambda: ("The static files are not collected",))
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["reason"]) == (
        503,
        "The static files are not collected",
    )


@pytest.mark.django_db
def test_a_group_that_does_not_exist_lets_nobody_in_without_a_second_factor(
    client: Client, settings: Settings
) -> None:
    settings.RAINBO_REQUIRE_MFA = ["sytem_admin"]
    user = staff("ben")
    user.groups.set(Group.objects.filter(name="read_only"))
    client.force_login(user)
    assert client.get("/admin/").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_without_tls_a_header_does_not_make_a_request_secure() -> None:
    with web_server(RAINBO_HTTPS="on", RAINBO_COLLECTED_STATIC="off") as site:
        forged = {"X-Forwarded-Proto": "https", "Host": "localhost"}
        answer = requests.get(
            f"{site}/admin/login/", headers=forged, timeout=10, allow_redirects=False
        )
        assert answer.status_code == 301, "gunicorn believed the header"


@pytest.mark.django_db(transaction=True)
def test_plain_http_needs_no_collected_files() -> None:
    with web_server(RAINBO_HTTPS="off") as site:
        page = requests.get(f"{site}/admin/login/", timeout=10)
        assert page.status_code == 200
        assert requests.get(f"{site}/health/ready", timeout=10).status_code == 200
        for style in re.findall(r'href="(/static/[^"]+\.css)"', page.text):
            assert requests.get(f"{site}{style}", timeout=10).status_code == 200


def test_a_configuration_that_works_has_no_failed_check() -> None:
    assert startup.failed_checks() == ()
    assert startup.missing_files() == ()
