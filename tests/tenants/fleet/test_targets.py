from __future__ import annotations

from typing import Any

import pytest

from syncs.models import RunState, RunTarget, SyncRun, TargetState, Trigger
from tenants.models import RdsInstance
from tests.caches import part, run_sync
from tests.instances import InstanceFleet
from tests.rows import ended_run, run_part

FLEET_SYNCS = ["instance_health", "tenant_summaries", "ghost_users"]


def failed_on(sync: str, *keys: str) -> SyncRun:
    """A run that failed on these instances."""
    run = ended_run(sync, RunState.FAILED)
    for key in keys:
        run_part(run, key, state=TargetState.FAILED)
    return run


def deactivate(key: int) -> None:
    RdsInstance.objects.filter(pk=key).update(is_active=False)


def delete(key: int) -> None:
    RdsInstance.objects.filter(pk=key).delete()


def outcomes(run: SyncRun) -> dict[str, str]:
    return dict(RunTarget.objects.filter(run=run).values_list("target", "state"))


@pytest.mark.parametrize("sync", FLEET_SYNCS)
@pytest.mark.parametrize(("leave", "became"), [(deactivate, "deactivated"), (delete, "deleted")])
def test_a_retry_syncs_the_others_of_an_instance_that_is_gone(
    registered: InstanceFleet, sync: str, leave: Any, became: str
) -> None:
    failed = failed_on(sync, "2", "3")
    leave(3)
    run = run_sync(sync, failed_from=failed.pk, targets=("2", "3"))
    assert outcomes(run) == {"2": TargetState.SUCCEEDED, "3": TargetState.SKIPPED}, run.error
    assert run.state == RunState.SUCCEEDED
    assert f"was {became} after it was asked for" in part(run, 3).note


@pytest.mark.parametrize("sync", FLEET_SYNCS)
def test_a_retry_without_any_instance_left_ends_well(registered: InstanceFleet, sync: str) -> None:
    failed = failed_on(sync, "3")
    deactivate(3)
    run = run_sync(sync, failed_from=failed.pk)
    assert (run.state, outcomes(run)) == (RunState.SUCCEEDED, {"3": TargetState.SKIPPED}), run.error


def test_a_queued_run_syncs_the_others_of_an_instance_that_is_gone(
    registered: InstanceFleet,
) -> None:
    deactivate(3)
    run = run_sync("instance_health", targets=("2", "3"))
    assert outcomes(run) == {"2": TargetState.SUCCEEDED, "3": TargetState.SKIPPED}


def test_a_retry_skips_an_instance_that_has_no_tenants_now(registered: InstanceFleet) -> None:
    failed = failed_on("tenant_summaries", "2", "3")
    RdsInstance.objects.filter(pk=3).update(has_tenants=False)
    run = run_sync("tenant_summaries", failed_from=failed.pk)
    assert outcomes(run) == {"2": TargetState.SUCCEEDED, "3": TargetState.SKIPPED}, run.error
    assert part(run, 3).note == "instance 3 (rds3) has no tenants, by its settings"


def test_a_run_that_names_only_unknown_instances_fails(registered: InstanceFleet) -> None:
    run = run_sync("instance_health", Trigger.API, targets=("9",))
    assert (run.state, run.error) == (RunState.FAILED, "no active instance has the id 9")
