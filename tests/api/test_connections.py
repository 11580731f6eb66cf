"""Connected services by the API: what is known of them, and requests to fetch them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from integrations.models import Connection
from syncs.models import SyncRun
from tests.api.clients import client, token
from tests.integrations.rows import TOKEN, connection
from tests.rows import staff

pytestmark = pytest.mark.django_db(transaction=True)


def post(service: str, body: dict[str, Any] | None = None, *scopes: str) -> Any:
    url = f"/api/v1/services/{service}/runs"
    caller = client(secret=token(*scopes, name=f"t{SyncRun.objects.count()} {scopes} {body}"))
    return caller.post(url, json.dumps(body or {}), content_type="application/json")


def test_connections_are_listed_as_the_command_lists_them(capsys: Any) -> None:
    now = timezone.now()
    connection(name="never")
    connection(name="fresh", last_successful_update_at=now - timedelta(minutes=1), record_count=7)
    connection(name="lapsed", reconnect_since=now, last_error="rejected")
    connection(name="bob's", owner=staff("bob"), service="slack", enabled=False)
    api = client("integrations:read")
    listed = api.get("/api/v1/connections").json()
    call_command("integrations_check", "--json")
    by_command = json.loads(capsys.readouterr().out)["connections"]
    rows = {row["name"]: row for row in listed["connections"]}
    states = {name: (row["state"], row["due"], row["next_at"]) for name, row in rows.items()}
    assert by_command[0].pop("next_at") > rows["never"].pop("next_at"), "each at its own time"
    assert listed["connections"] == by_command
    assert states["never"][:2] == ("due", True)
    assert states["fresh"][:2] == ("connected", False)
    assert states["lapsed"] == ("needs to be connected again", False, None)
    assert states["bob's"] == ("disabled", False, None)
    one = listed["connections"][1]
    address = f"/api/v1/connections/{one['connection']}"
    assert api.get(address).json() == one
    assert api.get("/api/v1/connections/999999").status_code == 404
    assert TOKEN not in json.dumps(listed)


def test_pages_and_a_service_are_chosen() -> None:
    rows = [connection(name=f"n{number}") for number in range(3)]
    connection(name="other", service="slack")
    api = client("integrations:read")
    first = api.get("/api/v1/connections?limit=2&service=github").json()
    second = api.get(first["next"]).json()
    found = [row["connection"] for page in (first, second) for row in page["connections"]]
    assert found == [row.pk for row in rows]
    assert second["next"] is None


def test_a_service_that_there_is_not_is_refused_and_not_one_without_connections() -> None:
    api = client("integrations:read")
    answer = api.get("/api/v1/connections?service=githb")
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "service")
    assert "github" in error["detail"]
    assert api.get("/api/v1/connections?service=notion").json()["connections"] == []
    connection(service="withdrawn")  # whose plugin is no longer installed
    assert len(api.get("/api/v1/connections?service=withdrawn").json()["connections"]) == 1


def test_services_are_counted_by_state() -> None:
    connection(name="never", record_count=2)
    connection(name="lapsed", reconnect_since=timezone.now(), record_count=3)
    found = client("integrations:read").get("/api/v1/services").json()["services"]
    by_name = {row["service"]: row for row in found}
    github = by_name["github"]
    assert (github["connections"], github["due"], github["records"]) == (2, 1, 5)
    assert github["states"] == {"due": 1, "needs to be connected again": 1}
    assert (by_name["notion"]["connections"], by_name["notion"]["next_at"]) == (0, None)


def test_one_or_all_of_a_service_are_requested() -> None:
    row = connection(name="one")
    connection(name="two")
    one = post("github", {"connections": [row.pk], "force": True})
    assert one.status_code == 202
    assert one["Location"] == f"/api/v1/runs/{one.json()['run']}"
    assert SyncRun.objects.get(pk=one.json()["run"]).options == {
        "targets": [row.key],
        "force": True,
    }
    every = post("github")
    assert SyncRun.objects.get(pk=every.json()["run"]).options == {}
    for body in ({"connections": [999_999]}, {"connections": ["1"]}, {"connections": [0]}):
        assert post("github", body).status_code == 422
    assert post("no_service").status_code == 404


def test_what_cannot_be_fetched_is_said_with_its_reason() -> None:
    off, lapsed = connection(name="off", enabled=False), connection(name="lapsed")
    Connection.objects.filter(pk=lapsed.pk).update(reconnect_since=timezone.now())
    paused = connection(name="paused", paused_until=timezone.now() + timedelta(hours=1))
    answer = post("github", {"connections": [off.pk, lapsed.pk, paused.pk, 999_999]})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "connections"
    assert set(error["detail"].split(", ")) == {
        f"{off.key}: it is disabled",
        f"{lapsed.key}: it needs to be connected again",
        "connection/999999: github has no such connection",
    }
    assert post("github", {"connections": [paused.pk]}).status_code == 202, "as by the command"


@pytest.mark.parametrize(
    ("service", "scope"), [("github", "integrations:run"), ("llm_models", "models:run")]
)
def test_a_service_is_fetched_by_its_own_scope_alone(service: str, scope: str) -> None:
    Connection.objects.all().delete()
    connection(service=service)
    assert post(service, None, scope).status_code == 202
    others = {"syncs:run", "integrations:run", "models:run"} - {scope}
    assert post(service, None, *sorted(others)).status_code == 403
    url = f"/api/v1/syncs/{service}/runs"
    by_sync = client(secret=token("syncs:run", name="sync"))
    assert by_sync.post(url, "{}", content_type="application/json").status_code == 403
    assert client("syncs:read").get("/api/v1/connections").status_code == 403
