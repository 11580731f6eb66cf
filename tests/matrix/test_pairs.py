"""RAINBO's own database on one version of PostgreSQL, the master on another: the main job.

`make matrix` runs it once for each version of the own database, with the masters' builds in
MATRIX_MASTERS, and makes the table of MATRIX_RESULTS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from localfleet.servers.server import Server
from syncs.models import RunState, SyncRun
from tenants.models import GhostUser, RdsInstance, Tenant
from tests.caches import shown_emails
from tests.instances import Instance
from tests.rows import staff

# The first also starts servers and migrates, on a machine that may be busy.
pytestmark = [
    pytest.mark.matrix,
    pytest.mark.timeout(600),
    pytest.mark.django_db(transaction=True),
]

MASTERS: dict[str, str] = json.loads(os.environ.get("MATRIX_MASTERS", "{}"))
SYNCS = {"ghost_users", "instance_health", "tenant_summaries", "user_routing"}
COMPOSED, IN_PARTS = "ren\u00e9@example.com", "rene\u0301@example.com"


@pytest.fixture(params=MASTERS or ["MATRIX_MASTERS is not set"])
def master(
    request: pytest.FixtureRequest,
    extra_server: Callable[..., Server],
    extra_instance: Callable[..., Instance],
) -> Instance:
    server = extra_server("master", bin_folder=Path(MASTERS[request.param]))
    made = extra_instance(1, server=server, master=True)
    for number in (1, 2):
        made.add_tenant(number, f"Tenant {number}")
        made.add_user(100 + number, number, f"user{number}@example.com")
        made.add_location(number, number)
    for number in range(1, 1200):
        made.add_route(number, f"user{number}@example.com", 1 + number % 2)
    made.add_route(1200, IN_PARTS, 1)
    return made


def test_the_main_job(
    master: Instance, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_THERE", master.rainbo_password)
    ann = staff("ann", is_superuser=True)
    manage(
        *("add_instance", "--id=1", "--name=one", f"--host={master.host}", f"--port={master.port}"),
        *(f"--database={master.database}", f"--user={master.user}", "--ssl-mode=disable"),
        *("--master", "--password-env=SECRET_THERE"),
    )
    manage("check_fleet")
    manage("sync_all")
    ended = SyncRun.objects.values_list("sync", "state")
    assert set(ended) == {(sync, RunState.SUCCEEDED) for sync in SYNCS}
    assert RdsInstance.objects.get(pk=1).health == "healthy"
    summaries = Tenant.objects.order_by("remote_id").values_list("name", "user_count")
    assert list(summaries) == [("Tenant 1", 1), ("Tenant 2", 1)]
    assert GhostUser.objects.get(admin_id=ann.pk).confirmed == "active"
    assert len(shown_emails()) == 1200

    assert "read in full" in said_of_routes()

    master.execute("DELETE FROM user_email_routing WHERE id < 4")
    master.add_route(2000, "new@example.com", 2)
    manage("sync_user_routing")
    assert len(shown_emails()) == 1198
    fell_back = "read in full" in said_of_routes()
    manage("verify_cache")
    manage("find_user", COMPOSED)
    manage("find_user", "new@example.com")

    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        (own,) = cursor.fetchone()
    record(own=own, master=request.node.callspec.params["master"], fell_back=fell_back)
    assert not fell_back


def said_of_routes() -> str:
    """What the latest run that synced them logged."""
    run = SyncRun.objects.filter(sync="user_routing").latest("pk")
    return "; ".join(line.message for line in run.log.all())


def manage(*words: str) -> None:
    code: Any = 0
    try:
        call_command(*words)
    except SystemExit as end:
        code = end.code
    assert not code, words


def record(**found: object) -> None:
    with Path(os.environ["MATRIX_RESULTS"]).open("a", encoding="utf-8") as results:
        results.write(json.dumps(found) + "\n")
