"""`POST /api/sync/<name>`."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from syncs.models import SyncRun
from tests.children import until
from tests.door_fixtures import Doors, Serve
from tests.instances import InstanceFleet

SYNC = "/api/sync/bakalari"


def test_without_a_connection_nothing_is_fetched(doors: Doors) -> None:
    reply = doors.post(SYNC)
    assert reply.status == 200
    assert (reply.json["success"], reply.json["state"]) == (None, None)
    assert reply.json["message"] == "No connection of bakalari exists: nothing was fetched"
    assert (reply.json["runId"], reply.json["created"], reply.json["failureCount"]) == (None, 0, 0)
    assert not SyncRun.objects.exists()


@pytest.mark.usefixtures("worker")
def test_its_connections_are_fetched(doors: Doors, serve: Serve) -> None:
    serve("bakalari", {"1": (9, 3, 2, 1), "2": (1, 1, 0, 0), "3": None})
    reply = doors.post(SYNC)
    run = SyncRun.objects.get()
    assert reply.status == 200
    assert (reply.json["runId"], reply.json["state"]) == (run.pk, run.state)
    rows = [reply.json[name] for name in ("created", "updated", "deleted")]
    assert rows == [4, 2, 1]
    assert (reply.json["successCount"], reply.json["failureCount"]) == (2, 1)
    assert reply.json["success"] is False


@pytest.mark.usefixtures("worker")
def test_a_sync_of_the_fleet_has_such_an_address(doors: Doors, fleet: InstanceFleet) -> None:
    fleet[1].add_route(1, "a@example.com")
    reply = doors.post("/api/sync/user_routing")
    assert (reply.status, reply.json["success"], reply.json["created"]) == (200, True, 1)


def test_what_takes_longer_is_polled(doors: Doors, worker: threading.Thread, serve: Serve) -> None:
    going = threading.Event()
    serve("bakalari", {"1": (9, 3, 2, 1)}, wait=lambda: going.wait(30))
    reply = doors.post(SYNC, Prefer="wait=0")
    address = reply.headers["Location"]
    assert (reply.status, address) == (202, f"{SYNC}/runs/{reply.json['runId']}")
    going.set()
    until(lambda: doors.get(address).status == 200)
    assert doors.get(address).json["created"] == 3
    other = address.replace("bakalari", "user_routing")
    assert doors.get(other).status == 404


def test_an_unknown_sync_is_not_found(doors: Doors) -> None:
    reply = doors.post("/api/sync/nothing")
    assert reply.status == 404
    assert "user_routing" in reply.json["detail"]


def test_only_post_starts_one(doors: Doors) -> None:
    reply = doors.get(SYNC)
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("path", "scope"), [(SYNC, "integrations:run"), ("/api/sync/user_routing", "syncs:run")]
)
def test_each_needs_its_scope(
    doors: Doors, operator: Callable[..., str], path: str, scope: str
) -> None:
    reply = doors.post(path, operator("syncs:read"), Prefer="wait=0")
    assert (reply.status, scope in reply.json["detail"]) == (403, True)
    assert doors.post(path, operator(scope, name="other"), Prefer="wait=0").status < 300
