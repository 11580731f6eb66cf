"""The workers' own start, in processes of their own."""

from __future__ import annotations

import signal

import pytest
from django_q.models import Schedule

from syncs.dispatch import reconcile
from syncs.engine import registry
from tests.children import Child, child

pytestmark = pytest.mark.django_db(transaction=True)


def start_of(workers: Child) -> str:
    """What they say until the cluster runs."""
    assert workers.process.stderr is not None
    said = ""
    while "Q Cluster" not in said:
        line = workers.process.stderr.readline()
        assert line, f"it ended early: {said}"
        said += line
    workers.signal(signal.SIGTERM)
    workers.end()
    return said


def test_workers_make_the_schedules_agree_before_they_begin() -> None:
    reconcile.reconcile()
    Schedule.objects.filter(name="user_routing").delete()
    Schedule.objects.filter(name="ghost_users").update(next_run="2100-01-01T00:00Z")
    with child("qcluster", RAINBO_WORKERS="1") as workers:
        said = start_of(workers)
    assert "user_routing: has no schedule: created, every 15 minutes" in said
    assert "ghost_users: its schedule has a wrong next run: repaired" in said
    assert Schedule.objects.count() == len(registry.scheduled_syncs())


def test_workers_start_also_while_the_own_database_is_away() -> None:
    with child("qcluster", RAINBO_WORKERS="1", RAINBO_DB_PORT="1") as workers:
        assert "could not check the schedules" in start_of(workers)
