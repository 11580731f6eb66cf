"""Instances that are hot standbys, on real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command

from common.clock import database_now
from localfleet.folders import local_root, scratch_root
from localfleet.servers import databases
from syncs.errors import SourceError
from syncs.models import Confirmation, RunState
from tenants.fleet import connections, identity
from tenants.fleet.connections import NotWritable
from tenants.models import GhostUser, RdsInstance, Tenant
from tests.caches import part, register, run_sync, shown_emails
from tests.children import until
from tests.instances import Instance, InstanceFleet
from tests.rows import staff
from tests.standby import catch_up, standby

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = ("transaction_isolation", "row_security")


@pytest.fixture
def root() -> Iterator[Path]:
    with scratch_root(local_root()) as folder:
        yield folder


@pytest.fixture
def primary(extra_instance: Callable[..., Instance]) -> Instance:
    instance = extra_instance(4)
    instance.add_tenant(1)
    return instance


@pytest.fixture
def replica(root: Path, primary: Instance) -> Iterator[Instance]:
    """Registered as instance 4; its primary isn't."""
    with standby(root, primary.server) as server:
        found = replace(primary, server=server)
        register(found)
        yield found


def reads_all(primary: Instance) -> None:
    primary.execute("GRANT pg_read_all_stats TO rainbo")


def sync() -> str:
    run = run_sync("tenant_summaries", targets=("4",))
    return "" if run.state == RunState.SUCCEEDED else part(run, 4).error


def confirmed_ago() -> timedelta:
    return database_now() - Confirmation.objects.get(sync="tenant_summaries", target="4").at


def pause(replica: Instance, primary: Instance) -> None:
    """Stop the replay after all of now; what the primary commits then is not replayed."""
    catch_up(primary.server, replica.server)
    replica.execute("SELECT pg_wal_replay_pause()")
    until(lambda: replica.execute("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])


def test_an_idle_primary_does_not_make_its_replica_stale(
    primary: Instance, replica: Instance
) -> None:
    reads_all(primary)
    catch_up(primary.server, replica.server)
    assert sync() == ""
    assert Tenant.objects.filter(instance_id=4).count() == 1
    assert confirmed_ago() < timedelta(seconds=30)


def test_a_confirmation_is_as_old_as_what_was_replayed(
    primary: Instance, replica: Instance
) -> None:
    reads_all(primary)
    primary.add_tenant(2)
    pause(replica, primary)
    before = database_now()
    primary.execute("SELECT pg_sleep(1.2)")
    primary.add_tenant(3)
    assert sync() == ""
    assert Tenant.objects.filter(instance_id=4).count() == 2
    assert Confirmation.objects.get(sync="tenant_summaries", target="4").at < before


def delay(replica: Instance, primary: Instance) -> None:
    """Let the standby replay all of now, and later commits not before an hour."""
    catch_up(primary.server, replica.server)
    replica.execute("ALTER SYSTEM SET recovery_min_apply_delay = '1h'")
    replica.execute("SELECT pg_reload_conf()")
    until(lambda: replica.execute("SHOW recovery_min_apply_delay") == [("1h",)])


def catch_up_again(replica: Instance, primary: Instance) -> None:
    replica.execute("ALTER SYSTEM RESET recovery_min_apply_delay")
    replica.execute("SELECT pg_reload_conf(), pg_wal_replay_resume()")
    catch_up(primary.server, replica.server)


@pytest.mark.parametrize(("fall_behind", "sees_messages"), [(pause, True), (delay, False)])
def test_a_replica_that_is_behind_what_was_published_publishes_nothing(
    primary: Instance,
    replica: Instance,
    fall_behind: Callable[[Instance, Instance], None],
    *,
    sees_messages: bool,
) -> None:
    if sees_messages:
        reads_all(primary)
    primary.add_tenant(2)
    fall_behind(replica, primary)
    primary.execute("SELECT pg_sleep(1.2)")
    primary.add_tenant(3)
    move(primary)
    assert sync() == ""
    published = Confirmation.objects.get(sync="tenant_summaries", target="4").at
    move(replica)
    run = run_sync("tenant_summaries", targets=("4",))
    assert run.state == RunState.FAILED
    assert "a replica that is behind what was published before" in part(run, 4).error
    assert part(run, 4).passing
    assert Tenant.objects.filter(instance_id=4).count() == 3
    assert Confirmation.objects.get(sync="tenant_summaries", target="4").at == published
    catch_up_again(replica, primary)
    primary.add_tenant(4)
    catch_up(primary.server, replica.server)
    assert sync() == ""
    assert Tenant.objects.filter(instance_id=4).count() == 4


def test_a_replica_is_not_behind_what_was_confirmed_by_a_clock_that_was_set_back(
    primary: Instance, replica: Instance
) -> None:
    reads_all(primary)
    move(replica)
    catch_up(primary.server, replica.server)
    assert sync() == ""
    ahead = database_now() + timedelta(hours=1)
    Confirmation.objects.update(at=ahead)
    assert sync() == ""
    assert not Confirmation.objects.filter(target="4", at__gte=ahead).exists()


def test_routes_of_a_replica_that_is_behind_are_not_published(
    root: Path, extra_instance: Callable[..., Instance]
) -> None:
    master = extra_instance(4, master=True)
    master.add_route(1, "ann@example.com")
    register(master)
    with standby(root, master.server) as server:
        behind = replace(master, server=server)
        reads_all(master)
        pause(behind, master)
        master.execute("SELECT pg_sleep(1.2)")
        master.execute("DELETE FROM user_email_routing")
        master.add_route(2, "bob@example.com")
        assert run_sync("user_routing").state == RunState.SUCCEEDED
        move(behind)
        run = run_sync("user_routing")
        assert "is behind what was published before" in part(run, 4).error
        assert shown_emails() == ["bob@example.com"]
        catch_up_again(behind, master)
        master.add_route(3, "cid@example.com")
        catch_up(master.server, server)
        assert run_sync("user_routing").state == RunState.SUCCEEDED
        assert shown_emails() == ["bob@example.com", "cid@example.com"]


def test_a_replica_of_an_idle_primary_is_not_behind_itself(
    primary: Instance, replica: Instance
) -> None:
    primary.add_tenant(2)
    catch_up(primary.server, replica.server)
    assert [sync() for _ in range(4)] == [""] * 4


def test_without_the_receivers_messages_the_last_transaction_counts(
    primary: Instance, replica: Instance
) -> None:
    primary.add_tenant(2)
    catch_up(primary.server, replica.server)
    before = database_now()
    assert sync() == ""
    assert Confirmation.objects.get(sync="tenant_summaries", target="4").at < before


def test_a_replica_that_has_replayed_nothing_confirms_nothing(
    primary: Instance, replica: Instance
) -> None:
    catch_up(primary.server, replica.server)
    replica.server.restart()
    if replica.execute("SELECT pg_last_xact_replay_timestamp() IS NULL") != [(True,)]:
        pytest.fail("the standby replayed a transaction after its start")
    found = part(run_sync("tenant_summaries", targets=("4",)), 4)
    assert "can't say how old its data is" in found.error
    assert "GRANT pg_read_all_stats TO rainbo" in found.error
    assert found.passing
    assert not Confirmation.objects.exists()


def test_health_shows_how_far_behind_it_is(primary: Instance, replica: Instance) -> None:
    reads_all(primary)
    pause(replica, primary)
    run = run_sync("instance_health", targets=("4",))
    row = RdsInstance.objects.get(pk=4)
    assert row.is_replica is True
    assert row.replica_lag_s is not None
    assert "replica, " in part(run, 4).note
    assert "its replay is paused" in row.last_error
    assert row.health == "degraded"


def test_ghosts_are_written_at_the_writer(primary: Instance, replica: Instance) -> None:
    ann = staff("ann", is_superuser=True)
    run = run_sync("ghost_users", targets=("4",))
    assert run.state == RunState.FAILED
    assert "--writer-host HOST" in part(run, 4).error
    move(replica, writer_host=primary.host, writer_port=primary.port)
    assert run_sync("ghost_users", targets=("4",)).state == RunState.SUCCEEDED
    assert GhostUser.objects.get(admin_id=ann.pk, instance_id=4).confirmed == "active"
    assert primary.execute("SELECT count(*) FROM users WHERE is_ghost_admin") == [(1,)]


def test_a_writer_that_is_a_replica_is_tried_again(replica: Instance) -> None:
    row = move(replica, writer_host=replica.host, writer_port=replica.port)
    with pytest.raises(NotWritable) as raised, connections.connect(row, "test", writes=True):
        pass
    assert raised.value.transient
    assert "is a failover in progress?" in str(raised.value)


def test_an_old_primary_is_refused_until_a_person_accepts_it(
    primary: Instance, replica: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    reads_all(primary)
    catch_up(primary.server, replica.server)
    assert sync() == ""
    before = RdsInstance.objects.get(pk=4).timeline
    replica.execute("SELECT pg_promote()")
    until(lambda: replica.execute("SELECT pg_is_in_recovery()") == [(False,)])
    replica.execute("CHECKPOINT")
    assert sync() == ""
    assert RdsInstance.objects.get(pk=4).timeline == (before or 0) + 1
    move(primary)
    error = sync()
    assert f"is on timeline {before}, and was on {(before or 0) + 1} before" in error
    call_command("add_instance", "--update", "--id=4", "--accept-rebuilt")
    assert sync() == ""


def move(instance: Instance, **fields: object) -> RdsInstance:
    """Let the endpoint of instance 4 lead to this server, as a failover of its name would."""
    row = RdsInstance.objects.get(pk=4)
    for name, value in ({"port": instance.port} | fields).items():
        setattr(row, name, value)
    row.set_password(instance.rainbo_password)
    row.save()
    return row


def test_a_primary_is_no_replica(primary: Instance) -> None:
    register(primary)
    run_sync("instance_health", targets=("4",))
    row = RdsInstance.objects.get(pk=4)
    assert (row.is_replica, row.replica_lag_s) == (False, None)
    with primary.server.connect() as source:
        assert identity.read(source)[1] is None


def test_a_replica_is_one_whatever_a_pooler_said_at_the_login(
    primary: Instance, replica: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads_all(primary)
    catch_up(primary.server, replica.server)
    said = psycopg.ConnectionInfo.parameter_status
    monkeypatch.setattr(
        psycopg.ConnectionInfo,
        "parameter_status",
        lambda info, name: "off" if name == "in_hot_standby" else said(info, name),
    )
    with connections.reach(RdsInstance.objects.get(pk=4), "test") as (source, _):
        assert source.replica is not None
        assert source.replica.lag is not None
        shown = [source.execute(f"SHOW {name}").fetchone() for name in SETTINGS]
    assert shown == [("repeatable read",), ("off",)]


def test_check_fleet_names_a_replica_without_a_writer(
    primary: Instance, replica: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    reads_all(primary)
    catch_up(primary.server, replica.server)
    call_command("check_fleet", "--rds=4")
    said = capsys.readouterr().out
    assert "replica, " in said
    assert "without a writer address" in said


@pytest.mark.parametrize(
    ("writer", "words"),
    [
        ({"writer_host": "nowhere.invalid"}, "can't be resolved: nowhere.invalid"),
        ({"writer_host": "127.0.0.1", "writer_port": 1}, "the connection at 127.0.0.1:1:"),
    ],
)
def test_a_writer_that_is_away_is_named_with_its_own_address(
    primary: Instance, writer: dict[str, object], words: str
) -> None:
    register(primary, **writer)
    staff("ann", is_superuser=True)
    error = part(run_sync("ghost_users", targets=("4",)), 4).error
    assert "the writer of instance 4 (rds4)" in error
    assert words in error


def test_a_writer_of_another_server_is_not_registered(
    primary: Instance, registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(primary)
    monkeypatch.setenv("SECRET", primary.rainbo_password)
    databases.set_role(registered[2].server, "rainbo", primary.rainbo_password)
    other = RdsInstance.objects.get(pk=2)
    with pytest.raises(SourceError, match="writer of instance 4"):
        call_command(
            *("add_instance", "--update", "--id=4", f"--writer-host={other.host}"),
            *(f"--writer-port={other.port}", "--password-env=SECRET"),
        )
