from __future__ import annotations

import psycopg
import pytest

from syncs.engine import lost_runs
from syncs.models import RunState, RunTarget, SyncRun, Trigger
from tenants.fleet import connections
from tenants.fleet.sessions import end_sessions
from tenants.models import RdsInstance
from tests.children import until
from tests.instances import InstanceFleet

pytestmark = pytest.mark.django_db(transaction=True)


def is_open(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def test_the_sessions_of_a_run_are_ended_and_no_others(registered: InstanceFleet) -> None:
    with registered[2].connect_as_rainbo() as left, registered[2].connect_as_rainbo() as other:
        left.execute("SET application_name = 'rainbo/probe/7'")
        other.execute("SET application_name = 'rainbo/probe/77'")
        assert end_sessions("probe/7", ["1", "2"]) == 1
        assert not is_open(left)
        assert is_open(other)


def test_sessions_are_named_after_their_run(registered: InstanceFleet) -> None:
    record = SyncRun(sync="probe", pk=7)
    with connections.reach(RdsInstance.objects.get(pk=2), record.purpose) as (connection, _):
        assert connection.execute("SHOW application_name").fetchone() == ("rainbo/probe/7",)


def test_an_instance_that_is_away_stops_nothing(registered: InstanceFleet) -> None:
    registered[3].server.stop()
    assert end_sessions("probe/7", ["1", "3"]) == 0


def test_what_a_lost_run_left_on_an_instance_is_ended(registered: InstanceFleet) -> None:
    record = SyncRun.objects.create(
        sync="tenant_summaries", trigger=Trigger.SCHEDULE, state=RunState.RUNNING
    )
    RunTarget.objects.create(run=record, target="2", label="two")
    instance = registered[2]
    with instance.connect_as_rainbo() as left:
        left.execute(f"SET application_name = 'rainbo/tenant_summaries/{record.pk}'")
        lost_runs.close_lost_runs()
        until(lambda: not is_open(left))
