"""A live server with a fleet behind it, a worker, and services that are syncs for one test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connections
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from api import tokens
from api.scopes import SCOPES
from syncs import tasks
from syncs.engine import registry
from syncs.engine.registry import Sync
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.models import RunState, SyncRun, TargetState
from tests.caches import register
from tests.instances import InstanceFleet
from tests.integrations.rows import list_models

CRON_SECRET = "cron-secret-of-the-tests-4f1c9b7a2e"
Serve = Callable[..., Sync]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Doors:
    """The live server. url: without a slash at its end."""

    url: str

    def send(
        self, method: str, path: str, secret: str = CRON_SECRET, body: str = "", **headers: str
    ) -> Reply:
        """Send a request as it is: nothing is followed, nothing added but the credential."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret:
            given["Authorization"] = f"Bearer {secret}"
        if body:
            given.setdefault("Content-Type", "application/json")
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, body or None, given)
            found = connection.getresponse()
            return Reply(found.status, found.headers, found.read().decode())
        finally:
            connection.close()

    def post(self, path: str, secret: str = CRON_SECRET, **given: str) -> Reply:
        return self.send("POST", path, secret, **given)

    def get(self, path: str, secret: str = CRON_SECRET, **given: str) -> Reply:
        return self.send("GET", path, secret, **given)


@pytest.fixture
def doors(live_server: LiveServer, settings: Settings, fleet: InstanceFleet) -> Doors:
    """A live server that knows three instances; nobody works on the queue."""
    settings.RAINBO_CRON_SECRET = CRON_SECRET
    for instance in fleet.instances:
        register(instance)
    return Doors(live_server.url)


@pytest.fixture
def worker(doors: Doors) -> Iterator[threading.Thread]:
    """A thread that executes queued runs as a worker does."""
    done = threading.Event()

    def work() -> None:
        try:
            while not done.wait(0.05):
                for run in SyncRun.objects.filter(state=RunState.QUEUED).order_by("pk"):
                    tasks.run_queued(run.pk)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    done.set()
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def operator() -> Callable[..., str]:
    """Makes tokens with these scopes, all when none is given; returns the secret."""

    def make(*scopes: str, name: str = "operator") -> str:
        return tokens.create(name, [*(scopes or SCOPES)], "ann").secret

    return make


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Registers services: `serve("github", {"a": (read, added, changed, removed)})`.

    A connection whose counts are None fails; `wait` is called before a run does anything.
    """
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))

    def make(
        name: str,
        connections_: Mapping[str, tuple[int, int, int, int] | None],
        wait: Callable[[], object] = lambda: None,
    ) -> Sync:
        targets = [Target(key, f"connection {key}") for key in connections_]

        def fetch(run: Run) -> None:
            wait()
            run.expect(targets)
            for key, counts in connections_.items():
                if counts is None:
                    run.record_outcome(key, TargetState.FAILED, note="the service answered 500")
                    continue
                read, added, changed, removed = counts
                with run.publishing() as session:
                    run.confirm(session, key, run.now(), rows=read)
                if name == "llm_models":
                    list_models(key, read)
                run.record_outcome(
                    key,
                    TargetState.SUCCEEDED,
                    read=read,
                    added=added,
                    changed=changed,
                    removed=removed,
                )

        return registry.register(Sync(name, name, fetch, lambda: targets, "*/15 * * * *", 9))

    return make
