"""`/admin/model-sync/…` and `/admin/pricing/sync/…`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from integrations.models import Connection
from localfleet.services.llm_models import LlmModels, odd_models
from localfleet.services.server import running
from rainbo.logs import Text
from syncs.models import SyncRun
from tests.children import until
from tests.door_fixtures import CRON_SECRET, Doors, Serve
from tests.integrations.rows import connection

ALL, STATUS = "/admin/model-sync/all", "/admin/model-sync/status"
PRICES = "/admin/pricing/sync"
CATALOGUES = {"openrouter": (340, 40, 0, 0), "litellm": (4_877, 7, 0, 0)}


@pytest.mark.parametrize(
    ("method", "path"), [("POST", ALL), ("GET", STATUS), ("POST", f"{PRICES}/cron")]
)
def test_without_a_catalogue_there_is_nothing(doors: Doors, method: str, path: str) -> None:
    reply = doors.send(method, path)
    assert (reply.status, reply.headers["Content-Type"]) == (404, "application/problem+json")
    assert reply.json["detail"].startswith("No catalogue of models is configured")


@pytest.mark.parametrize("path", ["/admin/model-sync/", "/admin/pricing/"])
def test_where_no_door_is_the_answer_says_so(doors: Doors, path: str) -> None:
    reply = doors.get(path)
    assert (reply.status, "nothing at this address" in reply.json["detail"]) == (404, True)


@pytest.mark.usefixtures("worker")
def test_catalogues_are_fetched(doors: Doors, serve: Serve) -> None:
    serve("llm_models", CATALOGUES)
    assert doors.get(STATUS).json["models"]["stats"]["total_active"] is None
    reply = doors.post(ALL)
    assert (reply.status, reply.json["success"]) == (200, True)
    assert reply.json["details"]["total_models_synced"] == 5_217
    status = doors.get(STATUS).json["models"]
    assert status["stats"]["total_active"] == 5_217
    assert (status["last_run"]["runId"], status["last_run"]["state"]) == (
        SyncRun.objects.get().pk,
        "succeeded",
    )


@pytest.mark.usefixtures("worker")
def test_a_catalogue_that_fails_is_no_success(doors: Doors, serve: Serve) -> None:
    serve("llm_models", {"openrouter": (340, 1, 0, 0), "litellm": None})
    reply = doors.post(ALL).json
    assert (reply["success"], reply["details"]["failed"]) == (False, 1)
    assert doors.post(f"{PRICES}/cron").json["status"] == "failed"


def test_prices_are_queued_running_completed(
    doors: Doors, worker: threading.Thread, serve: Serve, operator: Callable[..., str]
) -> None:
    going = threading.Event()
    serve("llm_models", CATALOGUES, wait=lambda: going.wait(30))
    secret = operator("models:run")
    key = secret[:16]
    reply = doors.post(f"{PRICES}/{key}", secret, Prefer="wait=0")
    assert reply.status == 202
    address = f"{PRICES}/{key}/status/{reply.json['sync_id']}"
    assert reply.headers["Location"] == address
    assert reply.json["status"] in {"queued", "running"}
    until(lambda: doors.get(address, secret).json["status"] == "running")
    going.set()
    until(lambda: doors.get(address, secret).json["status"] == "completed")


def test_the_key_names_the_token(doors: Doors, operator: Callable[..., str], serve: Serve) -> None:
    serve("llm_models", CATALOGUES)
    mine, other = operator(), operator(name="other")
    refused = doors.post(f"{PRICES}/{other[:16]}", mine)
    assert (refused.status, mine[:16] in refused.json["detail"]) == (403, True)
    assert doors.post(f"{PRICES}/{mine[:16]}", CRON_SECRET).status == 403
    assert doors.post(f"{PRICES}/{mine[:16]}", mine, Prefer="wait=0").status == 202


def test_a_secret_in_the_address_is_refused_and_not_logged(
    doors: Doors, operator: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    secret = operator()
    for path in (
        f"{PRICES}/{secret}",
        f"{PRICES}/{secret}/status/1",
        f"/admin/pricing/sync/x{secret}/",
    ):
        for method in ("GET", "POST"):
            for sent in (secret, ""):
                reply = doors.send(method, path, sent)
                assert reply.status >= 400
                assert secret not in reply.text
    assert doors.post(f"{PRICES}/{secret}", secret).status == 400
    assert doors.post(f"/admin/pricing/sync/x{secret}/", secret).status == 404
    assert doors.get("/admin/model-sync/", secret).status == 404
    logged = [Text().format(record) for record in caplog.records]
    assert any("/admin/pricing/sync/***/status/1" in line for line in logged)
    assert secret not in "".join(logged)


def test_runs_of_other_syncs_are_no_prices(doors: Doors, serve: Serve) -> None:
    serve("llm_models", CATALOGUES)
    run = SyncRun.objects.create(sync="user_routing", trigger="api")
    assert doors.get(f"{PRICES}/cron/status/{run.pk}").status == 404
    assert doors.get(f"/admin/model-sync/runs/{run.pk}").status == 404
    assert doors.get(f"{PRICES}/cron/status/{'9' * 18}").status == 404


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", ALL, "models:run"),
        ("GET", STATUS, "syncs:read"),
        ("POST", f"{PRICES}/x", "models:run"),
        ("GET", f"{PRICES}/x/status/1", "models:run"),
    ],
)
def test_each_needs_its_scope(
    doors: Doors, operator: Callable[..., str], method: str, path: str, scope: str
) -> None:
    reply = doors.send(method, path, operator("metrics:read"))
    assert (reply.status, scope in reply.json["detail"]) == (403, True)


@pytest.mark.usefixtures("worker")
def test_a_real_catalogue_is_counted_and_verified(doors: Doors, settings: Settings) -> None:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = ["127.0.0.1"]
    with running(LlmModels(odd_models())) as server:
        connection(f"{server.url}/list", service="llm_models", name="list", token="")
        assert doors.get(STATUS).json["models"]["stats"]["total_active"] is None
        unknown = doors.get(f"{STATUS}?minimum=1").json
        assert (unknown["success"], "unknown" in unknown["message"]) == (False, True)
        first = doors.post(ALL).json
        assert (first["success"], first["details"]["total_models_synced"]) == (True, 9)
        assert isinstance(server, LlmModels)
        assert doors.post(ALL).json["details"]["total_models_synced"] == 0, "it was just read"
        Connection.objects.update(last_successful_update_at=timezone.now() - timedelta(hours=4))
        server.change("openai/gpt-4o", input="3", output="12")
        prices = doors.post(f"{PRICES}/cron").json
        assert (prices["status"], prices["details"]["prices_changed"]) == ("completed", 2)
        assert doors.get(f"{PRICES}/cron/status/{prices['sync_id']}").json["details"] == {
            "total_models_synced": 9,
            "prices_changed": 2,
            "failed": 0,
        }
    stats = doors.get(STATUS).json["models"]["stats"]
    assert stats == {"total_active": 9, "missing": 0, "delisted": 0, "with_price": 6}
    assert doors.get(f"{STATUS}?minimum=9").json["success"] is True
    few = doors.get(f"{STATUS}?minimum=17000").json
    assert (few["success"], few["message"]) == (
        False,
        "9 models are listed, fewer than the 17,000 that are expected.",
    )
    assert doors.get(f"{STATUS}?minimum=0").status == 422
