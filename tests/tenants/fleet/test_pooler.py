"""A pooler in transaction mode in front of an instance.

It gives each transaction another session of the server. Here every one of these sessions was left
by somebody with settings that would make RAINBO read half of the rows, or refuse its writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.management import call_command

from localfleet.folders import local_root, scratch_root
from syncs.models import RunState
from tenants.find import live_lookup, lookup
from tenants.fleet.connections import connect
from tenants.fleet.transactions import transaction
from tenants.models import GhostUser, RdsInstance, Tenant
from tests import pooler
from tests.caches import everything, part, query, run_sync, shown_emails
from tests.fleet_fixtures import needs
from tests.instances import Instance, InstanceFleet
from tests.rows import staff

SIZE = 2
LEFT_BEHIND = """
    SET row_security = on; SET default_transaction_read_only = on;
    SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Tokyo'; SET intervalstyle = 'sql_standard';
    SET bytea_output = 'escape'; SET extra_float_digits = 0; SET standard_conforming_strings = off;
    SET array_nulls = off; SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '5s'"""


@pytest.fixture
def pooled(registered: InstanceFleet) -> Iterator[InstanceFleet]:
    """All instances are reached through poolers whose sessions have hostile settings."""
    needs(pooler.PROGRAM, "PgBouncer is not installed: apt install pgbouncer")
    with ExitStack() as stack:
        root = stack.enter_context(scratch_root(local_root()))
        for instance in registered.instances:
            users = {instance.user: instance.rainbo_password}
            port = stack.enter_context(pooler.pooler(root, instance.server, users, size=SIZE))
            spoil(instance, port)
            move(instance, port)
        yield registered


def move(instance: Instance, port: int) -> None:
    """Register the instance at another port of its host."""
    row = RdsInstance.objects.get(pk=instance.id)
    row.port = port
    row.set_password(instance.rainbo_password)
    row.save()


def spoil(instance: Instance, port: int) -> None:
    """Leave the settings in every session of the pool."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(instance.connect_as_rainbo(port=port, prepare_threshold=None))
            for _ in range(SIZE)
        ]
        for client in clients:
            client.execute("BEGIN")
        for client in clients:
            client.execute(f"COMMIT; {LEFT_BEHIND}")


def fill(instance: Instance) -> None:
    for tenant in range(1, 6):
        instance.add_tenant(tenant)
        instance.add_user(100 + tenant, tenant, f"u{tenant}@example.com")


def test_everything_is_read_and_written_as_without_it(pooled: InstanceFleet) -> None:
    for instance in pooled.instances:
        fill(instance)
    for number in range(1, 4):
        pooled.master.add_route(number, f"u{number}@example.com")
    ann = staff("ann", is_superuser=True)
    for name in ("user_routing", "tenant_summaries", "ghost_users", "instance_health"):
        ended = [run_sync(name) for _ in range(4)]
        assert [everything(run) for run in ended if run.state != RunState.SUCCEEDED] == []
    assert shown_emails() == [f"u{number}@example.com" for number in range(1, 4)]
    assert query("SELECT DISTINCT user_count FROM tenant_master") == [(1,)]
    assert Tenant.objects.count() == 15
    ghosts = GhostUser.objects.filter(admin_id=ann.pk, confirmed="active")
    assert ghosts.count() == 3
    ann.is_staff = False
    ann.save()
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    assert ghosts.count() == 0
    for instance in pooled.instances:
        (status,) = instance.execute("SELECT status FROM users WHERE is_ghost_admin")
        assert status == ("Inactive",)


def test_no_setting_that_was_left_behind_counts(pooled: InstanceFleet, settings: Any) -> None:
    settings.RAINBO_STATEMENT_TIMEOUT = 77
    for _ in range(2 * SIZE):
        with connect(RdsInstance.objects.get(pk=2), "test") as source, transaction(source):
            values = [
                source.execute(f"SHOW {name}").fetchone()
                for name in ("statement_timeout", "row_security", "timezone", "datestyle")
            ]
        assert values == [("77s",), ("off",), ("UTC",), ("ISO, MDY",)]


@pytest.mark.parametrize("number", range(4))
def test_rows_that_a_policy_hides_are_an_error(pooled: InstanceFleet, number: int) -> None:
    fill(pooled[2])
    assert run_sync("tenant_summaries", targets=("2",)).state == RunState.SUCCEEDED
    pooled[2].execute("ALTER TABLE tenants ENABLE ROW LEVEL SECURITY")
    pooled[2].execute("CREATE POLICY few ON tenants USING (id <= 4)")
    for _ in range(number):  # so that either session of the pool comes first
        assert run_sync("instance_health", targets=("2",)).state == RunState.SUCCEEDED
    run = run_sync("tenant_summaries", targets=("2",))
    assert (run.state, Tenant.objects.filter(instance_id=2).count()) == (RunState.FAILED, 5)
    assert "row-level security" in part(run, 2).error


def test_a_live_look_up_goes_through_it(pooled: InstanceFleet) -> None:
    fill(pooled.master)
    pooled.master.add_route(1, "u1@example.com")
    run_sync("user_routing")
    for _ in range(3):
        found = live_lookup.ask(lookup.find("u1@example.com"))
        assert not found.problems
        assert [user.email for user in found.instances["1"].rows] == ["u1@example.com"]


def test_check_fleet_names_the_pooler(
    pooled: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("check_fleet", "--rds=2")
    assert "through a connection pooler" in capsys.readouterr().out


def test_an_instance_is_registered_through_a_pooler(
    pooled: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("add_instance", "--update", "--id=2", "--name=behind")
    assert "through a connection pooler" in capsys.readouterr().out


def test_statement_pooling_is_refused_in_words(registered: InstanceFleet) -> None:
    needs(pooler.PROGRAM, "PgBouncer is not installed: apt install pgbouncer")
    instance = registered[2]
    users = {instance.user: instance.rainbo_password}
    with (
        scratch_root(local_root()) as root,
        pooler.pooler(root, instance.server, users, mode="statement") as port,
    ):
        move(instance, port)
        run = run_sync("tenant_summaries", targets=("2",))
    assert run.state == RunState.FAILED
    assert "statement pooling mode" in part(run, 2).error
    assert "transaction or session" in part(run, 2).error
