"""Many calls at once, on real web processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syncs import tasks
from syncs.models import SyncRun
from tests.door_fixtures import CRON_SECRET, Doors
from tests.instances import InstanceFleet
from tests.web_server import web_server


@pytest.mark.usefixtures("registered")
def test_a_hundred_deliveries_are_one_run_that_all_can_follow(
    tmp_path: Path, fleet: InstanceFleet
) -> None:
    fleet[1].add_route(1, "a@example.com")
    address = "/api/cron/sync-integrations?interval=user_routing"
    with web_server(tmp_path / "web.log", RAINBO_CRON_SECRET=CRON_SECRET) as url:
        doors = Doors(url)
        with ThreadPoolExecutor(100) as pool:
            replies = [*pool.map(lambda _: doors.post(address, Prefer="wait=1"), range(100))]
        run = SyncRun.objects.get()
        assert {reply.status for reply in replies} == {202}
        assert {reply.headers["Location"] for reply in replies} == {
            f"/api/cron/sync-integrations/runs/{run.pk}"
        }
        tasks.run_queued(run.pk)
        ended = doors.get(replies[0].headers["Location"])
        assert (ended.status, ended.json["successCount"]) == (200, 1)
    log = (tmp_path / "web.log").read_text()
    assert "Traceback" not in log
    assert CRON_SECRET not in log
