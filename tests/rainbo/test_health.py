from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.db import Error, OperationalError
from django.db.utils import ConnectionHandler
from django.test import Client
from django.utils import timezone

from rainbo import health


def set_heartbeat(monkeypatch: pytest.MonkeyPatch, answer: datetime | Error | None) -> None:
    def worker_heartbeat() -> datetime | None:
        if isinstance(answer, Error):
            raise answer
        return answer

    monkeypatch.setattr("syncs.queries.worker_heartbeat", worker_heartbeat)


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
    nobody = {**settings.DATABASES["default"], "PORT": 1}
    monkeypatch.setattr(health, "connection", ConnectionHandler({"default": nobody})["default"])
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "reason": health.NO_DATABASE}


def test_the_known_migrations_are_those_of_the_apps() -> None:
    apps = {app for app, _ in health.known_migrations()}
    assert {"auth", "django_q", "syncs", "tenants"} <= apps


def test_a_worker_that_reports_is_fine(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    last = timezone.now() - timedelta(minutes=2)
    set_heartbeat(monkeypatch, last)
    assert client.get("/health/worker").json() == {
        "status": "ok",
        "last_heartbeat": last.isoformat(),
    }


@pytest.mark.parametrize("silence", [None, timedelta(minutes=3, seconds=1)])
def test_a_silent_worker_is_reported(
    client: Client, monkeypatch: pytest.MonkeyPatch, silence: timedelta | None
) -> None:
    set_heartbeat(monkeypatch, timezone.now() - silence if silence else None)
    response = client.get("/health/worker")
    assert response.status_code == 503
    assert "worker has" in response.json()["reason"]


def test_the_worker_probe_tells_no_secret_of_a_broken_database(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_heartbeat(monkeypatch, OperationalError("password=hunter2"))
    response = client.get("/health/worker")
    assert response.status_code == 503
    assert response.json()["reason"] == health.NO_DATABASE
