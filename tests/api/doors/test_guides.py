"""The requests that the guides of the replaced systems show, with host and secret replaced.

Each is made as its client makes it: curl by curl itself, others byte by byte. Without a credential
it gets 401; with one, in the header, it works.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest
from pytest_django import Settings

from syncs.models import SyncRun
from tests.api.clients import client
from tests.door_fixtures import CRON_SECRET, Doors, Serve
from tests.fleet_fixtures import needs

AUTH = '-H "Authorization: Bearer $SECRET"'
JSON = '-H "Content-Type: application/json"'
# As shown; {auth} stands where the first two guides send the credential, and the third sends none.
CURL = {
    "all providers": "curl -X POST $URL/api/cron/sync-integrations {auth}",
    "15 minutes": 'curl -X POST "$URL/api/cron/sync-integrations?interval=15min" {auth}',
    "30 minutes": 'curl -X POST "$URL/api/cron/sync-integrations?interval=30min" {auth}',
    "cleanup": "curl -X POST $URL/api/cron/monitoring/cleanup "
    + JSON
    + " {auth} -d '{{\"retentionDays\": 30}}'",
    "monitoring": "curl {auth} $URL/api/cron/monitoring",
    "monitoring of a week": 'curl {auth} "$URL/api/cron/monitoring?timeRange=168"',
    "bakalari": f"curl -X POST {JSON} {{auth}} $URL/api/sync/bakalari",
    "models": 'curl -s -X POST {auth} "$URL/admin/model-sync/all"',
    "models, Railway": "curl -X POST {auth} $URL/admin/model-sync/all",
    "models' status": 'curl -s {auth} "$URL/admin/model-sync/status"',
    "prices": 'curl -s -X POST {auth} "$URL/admin/pricing/sync/$ADMIN_KEY"',
}
VERCEL = {
    "User-Agent": "vercel-cron/1.0",
    "x-vercel-cron-schedule": "*/15 * * * *",
    "Accept": "*/*",
}
POWERSHELL = {
    "User-Agent": "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041",
    "Content-Type": "application/json",
    "Content-Length": "0",
    "Connection": "Keep-Alive",
}
EXTERNAL = {"User-Agent": "Mozilla/4.0 (compatible; cron-job.org; abuse@cron-job.org)"}
RAW = {
    "Vercel, 15 minutes": ("GET", "/api/cron/sync-integrations?interval=15min", VERCEL),
    "Vercel, 30 minutes": ("GET", "/api/cron/sync-integrations?interval=30min", VERCEL),
    "PowerShell": ("POST", "/api/sync/bakalari", POWERSHELL),
    "external service": ("POST", "/admin/model-sync/all", EXTERNAL),
    "fetch of a function": (
        "POST",
        "/admin/model-sync/all",
        {"User-Agent": "node", "Accept": "*/*", "Content-Length": "0", "Sec-Fetch-Mode": "cors"},
    ),
}


@pytest.fixture
def catalogue(serve: Serve, worker: object) -> None:
    serve("llm_models", {"openrouter": (340, 40, 0, 0)})


@pytest.fixture
def curl(doors: Doors) -> Callable[[str], tuple[int, str]]:
    needs(shutil.which("curl"), "curl is not installed: apt install curl")

    def run(command: str, **env: str) -> tuple[int, str]:
        given = os.environ | {"URL": doors.url, "SECRET": CRON_SECRET, "ADMIN_KEY": "cron"} | env
        shown = command.replace("curl ", "curl --max-time 60 -w '\\n%{http_code}' ", 1)
        done = subprocess.run(
            ["bash", "-c", shown], env=given, capture_output=True, text=True, check=True
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    return run


def raw(doors: Doors, method: str, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    """Send exactly these headers; return the status and the document."""
    where = urlsplit(doors.url)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {where.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = HTTPResponse(connection, method=method)
        answer.begin()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("name", CURL)
def test_curl_without_a_credential_gets_401(
    curl: Callable[[str], tuple[int, str]], name: str
) -> None:
    status, body = curl(CURL[name].format(auth="-i"))
    assert status == 401
    assert 'WWW-Authenticate: Bearer realm="rainbo"' in body


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("name", CURL)
def test_curl_with_the_header_works(curl: Callable[[str], tuple[int, str]], name: str) -> None:
    status, body = curl(CURL[name].format(auth=AUTH))
    assert status == 200, body
    assert json.loads(body)


@pytest.mark.parametrize("name", RAW)
def test_other_clients_without_a_credential_get_401(doors: Doors, name: str) -> None:
    method, path, headers = RAW[name]
    assert raw(doors, method, path, headers)[0] == 401


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("name", RAW)
def test_other_clients_with_the_header_work(doors: Doors, name: str) -> None:
    method, path, headers = RAW[name]
    status, document = raw(
        doors, method, path, headers | {"Authorization": f"Bearer {CRON_SECRET}"}
    )
    assert status == 200
    assert document["message"]


def test_a_user_agent_proves_nothing(doors: Doors) -> None:
    wrong = VERCEL | {"Authorization": "Bearer something else"}
    assert raw(doors, "GET", "/api/cron/sync-integrations", wrong)[0] == 401


@pytest.mark.usefixtures("catalogue")
def test_the_answers_have_what_the_workflow_reads(curl: Callable[[str], tuple[int, str]]) -> None:
    """By the expressions of the guide, jq's: a missing value would be null."""
    models = json.loads(curl(CURL["models"].format(auth=AUTH))[1])
    assert (models["success"], models["details"]["total_models_synced"]) == (True, 340)
    prices = json.loads(curl(CURL["prices"].format(auth=AUTH))[1])
    status = f'curl -s {AUTH} "$URL/admin/pricing/sync/$ADMIN_KEY/status/{prices["sync_id"]}"'
    assert json.loads(curl(status)[1])["status"] == "completed"
    totals = json.loads(curl(CURL["models' status"].format(auth=AUTH))[1])
    assert totals["models"]["stats"]["total_active"] == 340


def test_health_needs_no_credential(curl: Callable[[str], tuple[int, str]]) -> None:
    assert curl('curl -f "$URL/health"')[0] == 200


@pytest.mark.django_db
def test_plain_http_is_redirected_and_starts_nothing(settings: Settings) -> None:
    """As docs/api.md warns, of Railway's example above all."""
    settings.SECURE_SSL_REDIRECT, settings.RAINBO_CRON_SECRET = True, CRON_SECRET
    reply = client(secret=CRON_SECRET).post("/api/sync/instance_health")
    assert (reply.status_code, reply.headers["Location"][:8]) == (301, "https://")
    assert not SyncRun.objects.exists()
