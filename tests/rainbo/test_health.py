from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from threading import Event

import pytest
from django.db import Error, OperationalError, connections
from django.test import Client
from django.utils import timezone

from localfleet.servers.fleet import LocalFleet
from rainbo import health
from rainbo.deadline import Question
from syncs.models import Heartbeat


def test_alive_needs_no_database(client: Client) -> None:
    response = client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response["Cache-Control"] == "no-store"
    assert not response.cookies


def test_probes_need_no_known_host_and_no_tls(client: Client) -> None:
    assert client.get("/health", headers={"host": "10.1.2.3:8000"}).status_code == 200


def test_probes_only_read(client: Client) -> None:
    response = client.post("/health/ready")
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


@pytest.mark.django_db
def test_ready(client: Client) -> None:
    assert client.get("/health/ready").json() == {"status": "ok"}
    assert client.head("/health/ready").status_code == 200


@pytest.mark.django_db
def test_not_ready_while_a_migration_is_missing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = health.known_migrations() | {("syncs", "9999_new")}
    monkeypatch.setattr(health, "known_migrations", lambda: known)
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["reason"] == "1 migrations are not applied: run manage.py migrate"


@pytest.mark.django_db
def test_not_ready_without_the_own_database(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "PORT", 1)
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "reason": health.NO_DATABASE}


def test_the_known_migrations_are_those_of_the_apps() -> None:
    apps = {app for app, _ in health.known_migrations()}
    assert {"auth", "django_q", "syncs", "tenants"} <= apps


@pytest.mark.django_db
def test_a_silent_worker_is_reported(client: Client) -> None:
    response = client.get("/health/worker")
    assert response.status_code == 503
    assert "no worker has ever reported" in response.json()["reason"]


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_reports_is_fine(client: Client) -> None:
    heartbeat = Heartbeat.objects.create(worker="host:1", at=timezone.now() - timedelta(minutes=2))
    assert client.get("/health/worker").json() == {
        "status": "ok",
        "last_heartbeat": heartbeat.at.isoformat(),
        "busy_with_run": None,
    }


def test_the_worker_probe_tells_no_secret_of_a_broken_database(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise OperationalError("password=hunter2")

    monkeypatch.setattr("syncs.status.queries.worker_state", broken)
    response = client.get("/health/worker")
    assert response.status_code == 503
    assert response.json()["reason"] == health.NO_DATABASE


@pytest.fixture
def frozen(postgres_servers: LocalFleet) -> Iterator[None]:
    """RAINBO's own database accepts connections and never answers."""
    pid = postgres_servers["rainbo"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)
    for question in (health.applied, health.workers):  # what was asked comes to its end
        with suppress(Error):
            question.answer(30)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/health/ready", "/health/worker"])
def test_a_frozen_database_is_told_in_time(client: Client, frozen: None, path: str) -> None:
    begin = time.monotonic()
    response = client.get(path)
    assert time.monotonic() - begin < health.DEADLINE + 1
    assert (response.status_code, response.json()["reason"]) == (503, health.FROZEN)


def test_many_who_ask_cost_one_thread() -> None:
    asked = []
    go_on = Event()

    def ask() -> int:
        asked.append(1)
        go_on.wait(30)
        return len(asked)

    question = Question(ask)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            question.answer(0.01)
    assert asked == [1]
    go_on.set()
    assert question.answer(30)
