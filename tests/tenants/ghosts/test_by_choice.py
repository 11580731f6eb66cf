"""Instances that keep no ghost users, by their settings."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.test import Client

from syncs.models import RunState
from tenants.fleet import targets
from tenants.ghosts import coverage
from tenants.ghosts.coverage import Coverage
from tenants.models import GhostUser, RdsInstance
from tests.caches import everything, run_sync
from tests.instances import InstanceFleet
from tests.pages import text_of
from tests.rows import staff
from tests.tenants.admin.ghost.test_matrix import PAGE


@pytest.fixture
def without(registered: InstanceFleet) -> InstanceFleet:
    """Instance 2 has no table of users."""
    registered[2].execute("DROP TABLE users")
    call_command("add_instance", "--update", "--id=2", "--no-ghosts")
    return registered


def test_it_is_not_visited(without: InstanceFleet) -> None:
    ann = staff("ann", is_superuser=True)
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED
    assert sorted(run.targets.values_list("target", flat=True)) == ["1", "3"]
    assert [target.key for target in targets.ghost_targets()] == ["1", "3"]
    found = coverage.by_admin({ann.pk}, RdsInstance.objects.all())[ann.pk]
    assert found.counts == {Coverage.CONFIRMED: 2}
    assert found.problems == 0


def test_a_run_that_names_it_is_refused(without: InstanceFleet) -> None:
    run = run_sync("ghost_users", targets=("2",))
    assert run.error == "instance 2 (rds2): no ghosts there, by its settings"


def test_pages_show_the_choice(without: InstanceFleet, admin_client: Client) -> None:
    run_sync("ghost_users")
    assert "none kept" in text_of(admin_client.get(PAGE))


def test_a_leaver_is_retired_where_no_ghosts_are_kept_any_more(registered: InstanceFleet) -> None:
    ann = staff("ann", is_superuser=True)
    run_sync("ghost_users")
    RdsInstance.objects.filter(pk=2).update(has_ghosts=False)
    type(ann).objects.filter(pk=ann.pk).update(is_active=False)
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert set(GhostUser.objects.values_list("confirmed", flat=True)) == {"inactive"}
    assert registered[2].execute("SELECT status FROM users WHERE is_ghost_admin") == [("Inactive",)]
