"""Ghost users where people, instances and RAINBO's own database get in the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import ProtectedError
from django.db.models.functions import Now

from common.errors import UsageError
from localfleet.servers.fleet import LocalFleet
from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import Confirmation, RunState, SyncRun, TargetState, Trigger
from tenants.jobs import sync_ghost_users
from tenants.models import GhostUser, RdsInstance
from tests.caches import counts, everything, part, query, register, run_sync
from tests.children import child, locked_at_home, until, waits_at_home
from tests.instances import Instance, InstanceFleet
from tests.tenants.jobs.test_sync_ghost_users import admin, admins, ghosts, leave, versions

job: Any = sync_ghost_users  # its parts are replaced


def come_back(*users: User) -> None:
    User.objects.filter(pk__in=[user.pk for user in users]).update(is_active=True)


def before_publish(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen after the instances committed, before RAINBO records it."""
    publish = job._publish

    def late(*args: object) -> object:
        happens()
        return publish(*args)

    monkeypatch.setattr(job, "_publish", late)


def known(user: User, number: int) -> GhostUser:
    return GhostUser.objects.get(admin_id=user.pk, instance=number)


def accept(held: SyncRun) -> SyncRun:
    options = Options(accept_held=held.pk, reason="they left")
    return runs.request("ghost_users", options, Trigger.COMMAND)


def test_an_acceptance_that_was_asked_for_twice_serves_once(registered: InstanceFleet) -> None:
    team = admins(6)
    run_sync("ghost_users")
    leave(*team[:4])
    held = run_sync("ghost_users")
    first = accept(held)
    with pytest.raises(UsageError, match="is being accepted"):
        accept(held)
    second = SyncRun.objects.create(  # one that got past the request all the same
        sync=first.sync, options=first.options, trigger=first.trigger
    )
    assert runs.execute(first).state == RunState.SUCCEEDED
    come_back(*team)
    run_sync("ghost_users")
    leave(*team[:4])
    before = versions(registered[2])
    runs.execute(second)
    assert second.state == RunState.FAILED
    assert f"run {held.pk} was accepted by run {first.pk}" in second.error
    assert versions(registered[2]) == before


def test_what_is_being_accepted_is_not_superseded_by_a_repeat(registered: InstanceFleet) -> None:
    team = admins(6)
    run_sync("ghost_users")
    leave(*team[:4])
    held = run_sync("ghost_users")
    accepting = accept(held)
    assert run_sync("ghost_users").state == RunState.HELD
    assert runs.execute(accepting).state == RunState.SUCCEEDED, everything(accepting)
    assert sorted(ghosts(registered[2]).values()) == [*["Active"] * 2, *["Inactive"] * 4]


def test_an_acceptance_ends_when_the_instances_are_confirmed_without_it(
    registered: InstanceFleet,
) -> None:
    team = admins(6)
    run_sync("ghost_users")
    leave(*team[:4])
    held = run_sync("ghost_users")
    come_back(*team)
    assert runs.execute(accept(held)).state == RunState.SUCCEEDED
    leave(*team[:4])
    with pytest.raises(UsageError, match="has published what run"):
        accept(held)
    assert runs.execute(accept(run_sync("ghost_users"))).state == RunState.SUCCEEDED
    assert sorted(ghosts(registered[2]).values()) == [*["Active"] * 2, *["Inactive"] * 4]


def test_a_dry_run_leaves_an_acceptance_unspent(registered: InstanceFleet) -> None:
    team = admins(6)
    run_sync("ghost_users")
    leave(*team[:4])
    held = run_sync("ghost_users")
    dry = run_sync("ghost_users", accept_held=held.pk, reason="they left", dry_run=True)
    assert dry.state == RunState.SUCCEEDED, everything(dry)
    held.refresh_from_db()
    assert held.accepted_by is None


def test_an_acceptance_does_not_cover_an_instance_that_held_nothing(
    registered: InstanceFleet,
) -> None:
    team = admins(6)
    run_sync("ghost_users")
    leave(*team[:4])
    held = run_sync("ghost_users", targets=("1",))
    run = runs.execute(accept(held))
    assert run.state == RunState.PARTIAL
    assert part(run, 1).state == TargetState.SUCCEEDED
    assert "held nothing of this instance" in part(run, 2).note


ALTERED = ["tenant_id = 5", "is_ghost_admin = false"]


@pytest.mark.parametrize("altered", ALTERED)
@pytest.mark.parametrize("alone", [True, False])
def test_a_leavers_ghost_that_someone_altered_is_never_called_gone(
    registered: InstanceFleet, altered: str, alone: bool
) -> None:
    ann = admin()
    run_sync("ghost_users")
    registered[2].execute(f"UPDATE users SET {altered}")
    before = versions(registered[2])
    leave(ann)
    for _ in range(2):
        run = run_sync("ghost_users", only=(str(ann.pk),) if alone else ())
        assert "1 altered" in part(run, 2).note
        assert f"ghost of admin {ann.pk} (user 1 there): altered" in everything(run)
    assert versions(registered[2]) == before
    ghost = known(ann, 2)
    assert (ghost.wanted, ghost.confirmed, ghost.remote_id) == ("inactive", "unknown", "1")
    assert "still active" in ghost.last_error
    assert known(ann, 1).confirmed == "inactive"


def test_an_altered_ghost_on_an_instance_out_of_use_is_looked_for_again(
    registered: InstanceFleet,
) -> None:
    ann = admin()
    run_sync("ghost_users")
    registered[3].execute("UPDATE users SET tenant_id = 5")
    RdsInstance.objects.filter(pk=3).update(is_active=False)
    leave(ann)
    run_sync("ghost_users")
    registered[3].execute("UPDATE users SET tenant_id = NULL")
    assert counts(run_sync("ghost_users"), 3) == (1, 0, 0, 1, 0)
    assert known(ann, 3).confirmed == "inactive"


def test_an_admin_who_leaves_during_their_first_sync_is_retired_at_once(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = admin()

    def go() -> None:
        ann.is_active = False
        ann.save()

    before_publish(monkeypatch, go)
    run_sync("ghost_users")
    monkeypatch.undo()
    queued = SyncRun.objects.get(state=RunState.QUEUED)
    assert queued.options == {"only": [str(ann.pk)]}
    runs.execute(queued)
    assert list(ghosts(registered[2]).values()) == ["Inactive"]
    assert not SyncRun.objects.filter(state=RunState.QUEUED).exists()


def test_a_dry_run_queues_nothing(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    leave(ann)
    run_sync("ghost_users", dry_run=True)
    assert not SyncRun.objects.filter(state=RunState.QUEUED).exists()


def test_an_instance_that_is_deleted_meanwhile_leaves_the_others_recorded(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_publish(monkeypatch, RdsInstance.objects.filter(pk=3).delete)
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert Confirmation.objects.filter(run=run).count() == 2
    assert part(run, 3).state == TargetState.SKIPPED
    assert "deleted from RAINBO" in part(run, 3).note


def test_an_instance_where_a_ghost_is_being_made_cannot_be_deleted(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = admin()

    def delete() -> None:
        with pytest.raises(ProtectedError):
            RdsInstance.objects.filter(pk=3).delete()

    before_publish(monkeypatch, delete)
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    assert known(ann, 3).confirmed == "active"


def test_a_name_that_an_instance_cannot_hold_stops_nothing(
    registered: InstanceFleet, extra_instance: Callable[..., Instance]
) -> None:
    latin = extra_instance(4, encoding="LATIN1")
    register(latin)
    bob = admin("bob", first_name="Bob")
    run_sync("ghost_users")
    admin("lukasz", first_name="Łukasz", last_name="Żak")
    admin("wu", first_name="吴")
    leave(bob)
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    wu = User.objects.get(username="wu")
    names = {("Bob", "Inactive"), ("ukasz Zak", "Active"), (f"admin {wu.pk}", "Active")}
    assert set(latin.execute("SELECT name, status FROM users")) == names
    assert ("Łukasz Żak",) in registered[2].execute("SELECT name FROM users")
    assert "plain" in everything(run)
    before = versions(latin)
    assert counts(run_sync("ghost_users"), 4) == (3, 0, 0, 0, 0)
    assert versions(latin) == before


def test_a_name_too_long_for_an_instance_is_cut(registered: InstanceFleet) -> None:
    admin("long", first_name="A" * 150, last_name="B" * 150)
    registered[2].execute("ALTER TABLE users ALTER name TYPE varchar(255)")
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert registered[2].execute("SELECT name FROM users") == [("A" * 40,)]


def test_an_account_whose_email_differs_by_case_is_in_the_way(registered: InstanceFleet) -> None:
    ann = admin()
    registered[2].execute("CREATE UNIQUE INDEX ON users (lower(email))")
    registered[2].add_user(7, 5, f"Rainbo-Admin-{ann.pk}@System.Internal")
    run = run_sync("ghost_users")
    assert run.state == RunState.PARTIAL, everything(run)
    assert counts(run, 2) == (0, 0, 0, 0, 1)
    assert known(ann, 2).confirmed == "refused"
    assert "user 7 there" in known(ann, 2).last_error


def test_a_ghost_is_not_refused_for_an_account_that_differs_by_case(
    registered: InstanceFleet,
) -> None:
    ann = admin()
    run_sync("ghost_users")
    registered[2].add_user(7, 5, f"Rainbo-Admin-{ann.pk}@System.Internal")
    assert counts(run_sync("ghost_users"), 2) == (1, 0, 0, 0, 0)
    assert known(ann, 2).confirmed == "active"


def test_what_could_not_be_recorded_is_told(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = admin()

    def lose_the_own_database() -> None:
        query(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'rainbo/ghost_users' AND pid <> pg_backend_pid()"
        )

    before_publish(monkeypatch, lose_the_own_database)
    run = run_sync("ghost_users")
    monkeypatch.undo()
    assert run.state == RunState.FAILED
    assert "ghost users may have been written on" in run.error
    assert "rds2" in run.error
    assert ghosts(registered[2])
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    assert known(ann, 2).confirmed == "active"


def test_what_a_cancelled_run_could_not_record_is_told(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin()

    def cancel() -> None:
        SyncRun.objects.update(cancel_requested_at=Now(), cancel_requested_by="bob")

    before_publish(monkeypatch, cancel)
    run = run_sync("ghost_users")
    assert run.state == RunState.CANCELLED
    assert "ghost users may have been written on" in everything(run)


def test_a_name_that_is_held_as_it_is_stays(registered: InstanceFleet) -> None:
    admin(first_name="Łukasz")
    run = run_sync("ghost_users")
    assert registered[1].execute("SELECT name FROM users") == [("Łukasz",)]
    assert "plain" not in everything(run)


def test_a_command_whose_own_database_dies_tells_what_it_may_have_written(
    registered: InstanceFleet, postgres_servers: LocalFleet
) -> None:
    ann = admin()
    home = postgres_servers["rainbo"]
    with child("sync_ghost_users") as command:
        with suppress(psycopg.OperationalError), locked_at_home("syncs_confirmation", "EXCLUSIVE"):
            until(waits_at_home("ghost_users"))
            with home.connect() as superuser:
                superuser.execute("CHECKPOINT")  # the tests' servers commit without waiting
            home.kill()
        connection.close()
        home.start()
        code, said = command.end()
    assert code == 1
    assert "ghost users may have been written on instance 1 (rds1)" in said
    assert "Traceback" not in said
    assert known(ann, 2).confirmed == "unknown"
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    assert known(ann, 2).confirmed == "active"
