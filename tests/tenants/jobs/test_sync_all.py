from __future__ import annotations

import json

import pytest
from django.core.management import call_command

from syncs.models import SyncRun
from tenants.models import RdsInstance
from tests.instances import InstanceFleet

ORDER = ["instance_health", "tenant_summaries", "user_routing", "ghost_users"]


def sync_all(*words: str) -> int:
    try:
        call_command("sync_all", *words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_all_syncs_run_in_order(registered: InstanceFleet) -> None:
    registered.master.add_tenant(1)
    registered.master.add_route(1, "ann@example.com")
    assert sync_all() == 0
    assert list(SyncRun.objects.order_by("id").values_list("sync", flat=True)) == ORDER


def test_it_goes_on_after_a_failure_and_says_so_at_the_end(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    RdsInstance.objects.update(is_master=False)
    assert sync_all() == 1
    states = dict(SyncRun.objects.values_list("sync", "state"))
    assert states["user_routing"] == "failed"
    assert states["ghost_users"] == "succeeded"
    said = capsys.readouterr()
    assert "no instance is the master" in said.err
    assert said.err.rstrip().splitlines()[-1] == "1 of 4 syncs did not succeed: user_routing."


def test_one_dead_instance_makes_it_partial(registered: InstanceFleet) -> None:
    registered[3].server.stop()
    assert sync_all() == 3


def test_json_is_one_document(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    sync_all("--json")
    document = json.loads(capsys.readouterr().out)
    assert [run["sync"] for run in document["runs"]] == ORDER


def test_quiet_says_nothing_when_all_is_well(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync_all("--quiet") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
