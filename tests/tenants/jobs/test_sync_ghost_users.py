from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from syncs.engine.run import Run
from syncs.models import Confirmation, RunState, SyncRun, TargetState
from tenants.models import GhostUser, RdsInstance
from tenants.models.installation import installation_id
from tests.caches import counts, everything, part, query, run_sync
from tests.instances import Instance, InstanceFleet


def admin(name: str = "ann", **fields: object) -> User:
    return get_user_model().objects.create_superuser(name, **fields)  # type: ignore[arg-type]


def admins(count: int) -> list[User]:
    return [admin(f"admin{n}") for n in range(count)]


def leave(*users: User) -> None:
    """Go without a signal, as after an update of many rows."""
    User.objects.filter(pk__in=[user.pk for user in users]).update(is_active=False)


def ghosts(instance: Instance) -> dict[str, str]:
    """Status by e-mail of the rows that carry the flag."""
    return dict(
        instance.execute("SELECT email, status FROM users WHERE is_ghost_admin ORDER BY id")
    )


def versions(instance: Instance) -> list[object]:
    return instance.execute("SELECT id, xmin::text, ctid::text FROM users ORDER BY id")


def put_out_of_use(number: int) -> None:
    RdsInstance.objects.filter(pk=number).update(is_active=False)


def test_an_admin_gets_one_ghost_on_every_active_instance(registered: InstanceFleet) -> None:
    put_out_of_use(3)
    ann = admin(first_name="Ann", last_name="Lee")
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert counts(run, 1) == counts(run, 2) == (0, 1, 0, 0, 0)
    assert not ghosts(registered[3])
    rows = registered[2].execute(
        "SELECT tenant_id, email, name, password, status, rainbo_admin_id, rainbo_installation "
        "FROM users"
    )
    mail = f"rainbo-admin-{ann.pk}@system.internal"
    assert rows == [(None, mail, "Ann Lee", "!", "Active", str(ann.pk), installation_id())]


def test_what_is_known_is_kept(registered: InstanceFleet) -> None:
    ann = admin()
    run = run_sync("ghost_users")
    known = GhostUser.objects.get(admin_id=ann.pk, instance=2)
    assert (known.wanted, known.confirmed, known.last_error) == ("active", "active", "")
    assert known.remote_id == "1"
    assert known.confirmed_at is not None
    assert Confirmation.objects.filter(sync="ghost_users", run=run).count() == 3
    assert part(run, 2).total == 1


def test_a_repeat_writes_nothing_there(registered: InstanceFleet) -> None:
    admin()
    run_sync("ghost_users")
    before = versions(registered[2])
    run = run_sync("ghost_users")
    assert counts(run, 2) == (1, 0, 0, 0, 0)
    assert versions(registered[2]) == before


def test_a_leaver_is_deactivated_and_an_admin_who_is_back_wakes(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    leave(ann)
    assert counts(run_sync("ghost_users"), 2) == (1, 0, 0, 1, 0)
    assert set(ghosts(registered[2]).values()) == {"Inactive"}
    assert GhostUser.objects.filter(wanted="inactive", confirmed="inactive").count() == 3
    User.objects.filter(pk=ann.pk).update(is_active=True)
    assert counts(run_sync("ghost_users"), 2) == (1, 0, 1, 0, 0)
    assert set(ghosts(registered[2]).values()) == {"Active"}


def lines(run: SyncRun, target: int) -> list[str]:
    return list(run.log.filter(target=str(target)).values_list("message", flat=True))


def test_whose_ghosts_were_written_is_told_by_name(registered: InstanceFleet) -> None:
    ann, bob = admin("ann"), admin("bob")
    assert lines(run_sync("ghost_users"), 2) == [f"added ann ({ann.pk}), bob ({bob.pk})"]
    assert lines(run_sync("ghost_users"), 2) == []
    carl = admin("carl")
    leave(ann)
    User.objects.filter(pk=bob.pk).update(first_name="Bobby")
    words = f"added carl ({carl.pk}); changed bob ({bob.pk}); deactivated ann ({ann.pk})"
    assert lines(run_sync("ghost_users", dry_run=True), 2) == [f"would have {words}"]
    assert lines(run_sync("ghost_users"), 2) == [words]


def test_of_many_the_first_are_named(registered: InstanceFleet) -> None:
    admins(22)
    (line,) = lines(run_sync("ghost_users"), 1)
    assert line.endswith(" and 2 more")
    assert line.count("admin") == 20


def test_what_a_guard_held_is_named_as_a_wish(registered: InstanceFleet) -> None:
    leavers = admins(4)
    pks = [user.pk for user in leavers]
    run_sync("ghost_users")
    User.objects.filter(pk__in=pks[1:]).delete()
    leave(leavers[0])
    run = run_sync("ghost_users")
    assert run.state == RunState.HELD, everything(run)
    line, *_ = lines(run, 1)
    assert line.startswith("would have deactivated ")
    assert f"admin0 ({pks[0]})" in line
    assert f"deleted user ({pks[3]})" in line


def test_a_new_name_is_a_change(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    User.objects.filter(pk=ann.pk).update(first_name="Anna")
    assert counts(run_sync("ghost_users"), 1) == (1, 0, 1, 0, 0)
    assert registered[1].execute("SELECT name FROM users") == [("Anna",)]


def test_the_ghost_of_a_deleted_admin_goes(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    User.objects.all().delete()
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert set(ghosts(registered[1]).values()) == {"Inactive"}
    assert GhostUser.objects.get(admin_id=ann.pk, instance=1).confirmed == "inactive"


def test_a_ghost_that_someone_deleted_there_is_absent_when_its_admin_left(
    registered: InstanceFleet,
) -> None:
    ann = admin()
    run_sync("ghost_users")
    registered[1].execute("DELETE FROM users")
    leave(ann)
    run_sync("ghost_users")
    assert GhostUser.objects.get(admin_id=ann.pk, instance=1).confirmed == "absent"


@pytest.mark.parametrize(
    "taken",
    [
        {"email": "rainbo-admin-{}@system.internal", "tenant_id": 7},
        {"email": "other@example.com", "tenant_id": None, "rainbo_admin_id": "{}"},
    ],
)
def test_an_account_in_the_way_is_never_adopted(
    registered: InstanceFleet, taken: dict[str, str]
) -> None:
    ann = admin()
    row = {key: v.format(ann.pk) if isinstance(v, str) else v for key, v in taken.items()}
    registered[2].add_user(5, row.pop("tenant_id"), row.pop("email"), **row)  # type: ignore[arg-type]
    before = versions(registered[2])
    run = run_sync("ghost_users")
    assert versions(registered[2]) == before
    assert (run.state, part(run, 2).state) == (RunState.PARTIAL, TargetState.FAILED)
    assert counts(run, 2) == (0, 0, 0, 0, 1)
    assert "1 refused" in part(run, 2).note
    assert "user 5 there" in everything(run)
    known = GhostUser.objects.get(admin_id=ann.pk, instance=2)
    assert (known.wanted, known.confirmed) == ("active", "refused")
    assert "user 5 there" in known.last_error


def test_a_ghost_whose_email_another_account_took_is_left_as_it_is(
    registered: InstanceFleet,
) -> None:
    ann = admin()
    run_sync("ghost_users")
    registered[2].execute("UPDATE users SET email = 'renamed@system.internal'")
    registered[2].add_user(5, 7, f"rainbo-admin-{ann.pk}@system.internal")
    before = versions(registered[2])
    run = run_sync("ghost_users")
    assert part(run, 2).state == TargetState.FAILED, everything(run)
    assert counts(run, 2) == (1, 0, 0, 0, 1)
    assert versions(registered[2]) == before


def test_ghosts_of_another_installation_are_left_alone(registered: InstanceFleet) -> None:
    foreign = {"is_ghost_admin": True, "rainbo_admin_id": "900", "rainbo_installation": "other"}
    registered[1].add_user(5, None, "theirs@system.internal", **foreign)
    run = run_sync("ghost_users")
    assert ghosts(registered[1]) == {"theirs@system.internal": "Active"}
    assert part(run, 1).note == ""
    assert "1 ghost users of another RAINBO were not touched" in everything(run)


def test_unknown_ghosts_are_told(registered: InstanceFleet) -> None:
    registered[1].add_user(5, None, "stray@system.internal", is_ghost_admin=True)
    run = run_sync("ghost_users")
    assert ghosts(registered[1]) == {"stray@system.internal": "Active"}
    assert "1 unknown ghost users" in part(run, 1).note
    assert "marked as a ghost of no installation" in everything(run)


def test_leavers_on_an_instance_out_of_use_go_and_no_one_new_comes(
    registered: InstanceFleet,
) -> None:
    ann = admin()
    run_sync("ghost_users")
    put_out_of_use(3)
    leave(ann)
    admin("bob")
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert list(ghosts(registered[3]).values()) == ["Inactive"]
    assert list(ghosts(registered[2]).values()) == ["Inactive", "Active"]
    assert "3" not in run_sync("ghost_users").targets.values_list("target", flat=True)


def test_an_instance_out_of_use_that_is_away_is_noted_and_tried_again(
    registered: InstanceFleet,
) -> None:
    ann = admin()
    run_sync("ghost_users")
    put_out_of_use(3)
    leave(ann)
    registered[3].server.stop()
    for _ in range(2):
        run = run_sync("ghost_users")
        assert run.state == RunState.SUCCEEDED, everything(run)
        assert part(run, 3).state == TargetState.SKIPPED
        assert "may still be active" in part(run, 3).note
    waiting = GhostUser.objects.get(admin_id=ann.pk, instance=3)
    assert (waiting.wanted, waiting.confirmed) == ("inactive", "active")
    assert "instance 3" in waiting.last_error
    registered[3].server.start()
    run_sync("ghost_users")
    assert GhostUser.objects.get(admin_id=ann.pk, instance=3).confirmed == "inactive"


def test_an_instance_that_is_down_leaves_the_others_done(registered: InstanceFleet) -> None:
    ann = admin()
    registered[2].server.stop()
    run = run_sync("ghost_users")
    assert run.state == RunState.PARTIAL
    assert part(run, 1).state == part(run, 3).state == TargetState.SUCCEEDED
    assert part(run, 2).error_kind == "connection"
    known = GhostUser.objects.get(admin_id=ann.pk, instance=2)
    assert (known.wanted, known.confirmed) == ("active", "unknown")
    assert "instance 2" in known.last_error
    registered[2].server.start()
    assert run_sync("ghost_users", failed_from=run.pk).state == RunState.SUCCEEDED
    assert ghosts(registered[2])


def test_a_missing_grant_fails_that_instance_alone(registered: InstanceFleet) -> None:
    admin()
    registered[2].execute("REVOKE INSERT (rainbo_admin_id) ON users FROM rainbo")
    run = run_sync("ghost_users")
    assert part(run, 1).state == TargetState.SUCCEEDED
    assert part(run, 2).state == TargetState.FAILED
    assert "check_fleet --rds 2 prints" in part(run, 2).error
    assert not ghosts(registered[2])


def test_a_dry_run_says_what_would_happen_and_writes_nothing(registered: InstanceFleet) -> None:
    admin()
    run = run_sync("ghost_users", dry_run=True)
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert counts(run, 1) == (0, 1, 0, 0, 0)
    assert not ghosts(registered[1])
    assert not GhostUser.objects.exists()
    assert not Confirmation.objects.exists()


def test_too_many_deactivations_are_held(registered: InstanceFleet) -> None:
    team = admins(5)
    run_sync("ghost_users")
    leave(*team[:4])
    run = run_sync("ghost_users")
    assert run.state == RunState.HELD
    assert "4 of 5 active ghost users" in part(run, 1).note
    assert set(ghosts(registered[1]).values()) == {"Active"}
    assert run.held_changes.filter(target="1").count() == 4
    assert GhostUser.objects.filter(wanted="inactive", confirmed="active").count() == 12


def test_three_leavers_of_few_are_let_go(registered: InstanceFleet) -> None:
    team = admins(3)
    run_sync("ghost_users")
    leave(*team)
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    assert set(ghosts(registered[1]).values()) == {"Inactive"}


def test_leaving_little_by_little_is_held_within_a_day(registered: InstanceFleet) -> None:
    team = admins(6)
    run_sync("ghost_users")
    leave(*team[:2])
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    leave(*team[2:4])
    run = run_sync("ghost_users")
    assert run.state == RunState.HELD
    assert "4 of the 6 of 24 h ago" in part(run, 1).note


def test_a_person_accepts_what_is_held_once(registered: InstanceFleet) -> None:
    team = admins(5)
    run_sync("ghost_users")
    leave(*team[:4])
    held = run_sync("ghost_users")
    accepting = run_sync("ghost_users", accept_held=held.pk, reason="they left")
    assert accepting.state == RunState.SUCCEEDED, everything(accepting)
    held.refresh_from_db()
    assert held.accepted_by == accepting
    assert sorted(ghosts(registered[1]).values()) == ["Active", *["Inactive"] * 4]


def test_more_than_was_accepted_stays_held(registered: InstanceFleet) -> None:
    team = admins(6)
    run_sync("ghost_users")
    leave(*team[:4])
    held = run_sync("ghost_users")
    leave(team[4])
    run = run_sync("ghost_users", accept_held=held.pk, reason="they left")
    assert run.state == RunState.HELD
    assert "1 of the changes were not accepted" in part(run, 1).note
    held.refresh_from_db()
    assert held.accepted_by is None


def test_a_run_can_keep_to_some_admins(registered: InstanceFleet) -> None:
    ann, bob = admins(2)
    run = run_sync("ghost_users", only=(str(ann.pk),))
    assert list(ghosts(registered[1])) == [f"rainbo-admin-{ann.pk}@system.internal"]
    assert part(run, 1).read == 0
    assert not Confirmation.objects.exists()
    leave(ann, bob)
    run_sync("ghost_users", only=(str(ann.pk),))
    assert list(ghosts(registered[1]).values()) == ["Inactive"]


def test_a_run_for_some_admins_leaves_the_ghosts_of_others(registered: InstanceFleet) -> None:
    ann, bob = admins(2)
    run_sync("ghost_users")
    leave(ann)
    run = run_sync("ghost_users", only=(str(ann.pk),))
    assert counts(run, 1) == (1, 0, 0, 1, 0)
    assert ghosts(registered[1])[f"rainbo-admin-{bob.pk}@system.internal"] == "Active"
    assert GhostUser.objects.get(admin_id=bob.pk, instance=1).confirmed == "active"


@pytest.mark.parametrize("key", ["x", "-1", "9" * 20, "²"])
def test_what_is_no_admin_is_refused(registered: InstanceFleet, key: str) -> None:
    run = run_sync("ghost_users", only=(key,))
    assert run.state == RunState.FAILED
    assert "not an admin id" in run.error


def test_an_admin_that_never_was_is_refused(registered: InstanceFleet) -> None:
    assert "knows no user 4711" in run_sync("ghost_users", only=("4711",)).error


def test_the_remote_write_is_taken_back_when_the_lease_is_lost(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin()
    check = Run.check_lease

    def steal_then_check(run: Run) -> None:
        query("UPDATE syncs_lease SET token = token + 1 RETURNING 1")
        check(run)

    monkeypatch.setattr(Run, "check_lease", steal_then_check)
    run = run_sync("ghost_users")
    assert run.state == RunState.FAILED
    assert not any(ghosts(instance) for instance in registered.instances)
    assert set(GhostUser.objects.values_list("confirmed", flat=True)) == {"unknown"}


def test_an_instance_registered_anew_knows_its_old_ghosts(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    GhostUser.objects.all().delete()
    leave(ann)
    assert counts(run_sync("ghost_users"), 1) == (1, 0, 0, 1, 0)
    known = GhostUser.objects.get(admin_id=ann.pk, instance=1)
    assert (known.wanted, known.confirmed) == ("inactive", "inactive")
