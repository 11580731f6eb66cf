"""Many programs at once, on real web processes: one run, and each gets a truthful answer."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from api import tokens
from syncs.models import OPEN_STATES, SyncRun
from tests.api.clients import token
from tests.children import child, until
from tests.instances import InstanceFleet
from tests.web_server import web_server


@pytest.fixture
def server(registered: InstanceFleet, tmp_path: Path) -> Iterator[str]:
    log = tmp_path / "web.log"
    with web_server(log) as url:
        yield url
    assert "Traceback" not in log.read_text()


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return [*pool.map(act, range(count))]


def test_a_hundred_triggers_are_one_run_and_all_follow_it(server: str) -> None:
    headers = {"Authorization": f"Bearer {token()}"}

    def trigger(_: int) -> Any:
        url = f"{server}/api/v1/syncs/tenant_summaries/runs"
        return requests.post(url, json={}, headers=headers, timeout=60)

    answers = at_once(100, trigger)
    assert {answer.status_code for answer in answers} == {202}
    (run,) = SyncRun.objects.all()
    assert {answer.json()["run"] for answer in answers} == {run.pk}
    assert Counter(answer.json()["joined"] for answer in answers) == {True: 99, False: 1}
    with child("schedule_work"):
        until(lambda: not SyncRun.objects.filter(state__in=OPEN_STATES).exists())
    run.refresh_from_db()
    assert run.state == "succeeded"
    assert SyncRun.objects.count() == 1
    shown = requests.get(server + answers[0].headers["Location"], headers=headers, timeout=10)
    assert shown.json()["state"] == "succeeded"


def test_fifty_with_one_key_get_one_run_though_it_is_being_executed(server: str) -> None:
    headers = {"Authorization": f"Bearer {token()}", "Idempotency-Key": "deploy"}

    def trigger(_: int) -> Any:
        url = f"{server}/api/v1/syncs/instance_health/runs"
        return requests.post(url, json={}, headers=headers, timeout=60)

    with child("schedule_work"):
        answers = at_once(50, trigger)
        until(lambda: not SyncRun.objects.filter(state__in=OPEN_STATES).exists())
    assert {answer.status_code for answer in answers} <= {200, 202}
    ours = SyncRun.objects.filter(trigger="api")
    assert {answer.json()["run"] for answer in answers} == {ours.get().pk}


def test_a_thousand_polls_are_answered_and_one_of_a_revoked_token_refused(server: str) -> None:
    made = tokens.create("poller", ["syncs:read"], "ann")
    run = SyncRun.objects.create(sync="user_routing", trigger="api")
    url, headers = f"{server}/api/v1/runs/{run.pk}", {"Authorization": f"Bearer {made.secret}"}
    tag = requests.get(url, headers=headers, timeout=10).headers["ETag"]

    def poll(number: int) -> int:
        known = {"If-None-Match": tag} if number % 2 else {}
        return requests.get(url, headers=headers | known, timeout=60).status_code

    with ThreadPoolExecutor(50) as pool:
        assert Counter(pool.map(poll, range(1000))) == {200: 500, 304: 500}
    tokens.revoke(made.token, "ann")
    assert poll(0) == 401


def test_a_client_that_sends_slowly_holds_up_nobody_else(server: str) -> None:
    host, port = server.removeprefix("http://").split(":")
    secret = token()
    slow: list[socket.socket] = []
    try:
        for _ in range(3):
            client = socket.create_connection((host, int(port)))
            slow.append(client)
            client.sendall(b"POST /api/v1/syncs/user_routing/runs HTTP/1.1\r\nHost: localhost\r\n")
        began = time.monotonic()
        headers = {"Authorization": f"Bearer {secret}"}
        for _ in range(10):
            answer = requests.get(f"{server}/api/v1/runs", headers=headers, timeout=10)
            assert answer.status_code == 200
        assert time.monotonic() - began < 10
    finally:
        for client in slow:
            client.close()
    assert not SyncRun.objects.exists()
