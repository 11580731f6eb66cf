"""The documented address for cron services runs what people connected."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from integrations import registration
from integrations.registration import ConnectionInput
from localfleet.services.bakalari import Bakalari
from localfleet.services.github import GitHub
from localfleet.services.server import Reply, running
from syncs import tasks
from syncs.engine import runs
from syncs.models import SyncRun
from tests.integrations.rows import connection, titles
from tests.rows import staff

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cron(settings: Any) -> Client:
    settings.RAINBO_CRON_SECRET = "s" * 40
    return Client(headers={"authorization": f"Bearer {'s' * 40}", "prefer": "respond-async"})


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has runs executed as soon as their request is committed, as a worker would."""

    def enqueue(record: SyncRun) -> None:
        transaction.on_commit(partial(runs.execute, record))

    monkeypatch.setattr(tasks, "enqueue", enqueue)


def post(cron: Client, interval: str = "15min") -> Any:
    url = f"/api/cron/sync-integrations?interval={interval}"
    return cron.post(url, content_type="application/json").json()


def test_without_a_connection_nothing_is_requested(cron: Client) -> None:
    assert post(cron)["message"] == "No provider is connected: nothing to sync"
    assert not SyncRun.objects.exists()


def test_users_successes_and_failures_are_counted(
    cron: Client, hub: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people, three connections, one of which is rejected."""
    hub.add_repository("home")
    bob = staff("bob")
    for fields in ({"owner": bob, "name": "one"}, {"owner": bob, "name": "two"}):
        connection(hub.url, **fields)
    connection(hub.url, token="revoked")
    at_once(monkeypatch)
    done = post(cron)
    assert (done["usersProcessed"], done["providersSync"]) == (2, 3)
    assert (done["successCount"], done["failureCount"]) == (2, 1)


def test_what_was_fetched_a_moment_ago_is_left_alone(
    cron: Client, hub: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = connection(hub.url)
    at_once(monkeypatch)
    post(cron)
    hub.add_repository("home")
    hub.faults = [Reply(500)]
    done = post(cron)
    assert (done["success"], done["providersSync"], done["successCount"]) == (True, 0, 0)
    assert (done["freshCount"], done["skippedCount"], done["usersProcessed"]) == (1, 1, 0)
    assert done["message"].startswith("Nothing was synced: 1 target was skipped")
    assert hub.faults
    assert not titles(row, "repository")
    hub.faults = []
    connection(hub.url, name="new")
    done = post(cron)
    assert (done["successCount"], done["freshCount"], done["usersProcessed"]) == (1, 1, 1)
    assert done["message"].startswith("Sync completed; 1 target was skipped")


def test_services_of_another_interval_are_not_run(cron: Client, hub: GitHub) -> None:
    connection(hub.url)
    assert post(cron, "30min")["message"] == "No provider is connected: nothing to sync"


def test_the_address_of_bakalari_runs_the_schools_and_says_what_came(
    cron: Client, loopback: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    url = "/api/sync/bakalari"
    assert (
        "nothing was fetched" in cron.post(url, content_type="application/json").json()["message"]
    )
    with running(Bakalari()) as school:
        assert isinstance(school, Bakalari)
        school.add_mark("Maths", "1")
        given = ConnectionInput(
            service="bakalari",
            name="school",
            owner=staff("bob"),
            token=school.password,
            account=school.user,
            base_url=school.url,
        )
        row = registration.add(given)
        done = cron.post(url, content_type="application/json").json()
    assert (done["success"], done["created"], done["successCount"]) == (True, 1, 1)
    assert titles(row, "mark") == ["Maths: 1"]
