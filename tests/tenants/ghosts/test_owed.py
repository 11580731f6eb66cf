"""What is owed: leavers leave within a minute, whatever became of runs, or it is reported."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command

from common.clock import database_now
from rainbo.dashboard import verdict
from syncs import hooks, tasks
from syncs.engine import held as held_runs
from syncs.engine import runs
from syncs.models import (
    Confirmation,
    RunState,
    SyncRun,
    SyncSchedule,
    TargetState,
    Trigger,
)
from syncs.reports import run_report
from syncs.status import problems
from syncs.status.problems import Problem, Severity
from syncs.transfer.session import open_session
from tenants.ghosts import owed
from tenants.jobs import sync_ghost_users
from tenants.models import GhostUser, InstanceCheck, RdsInstance
from tenants.models.instance import Health
from tests.caches import counts, everything, part, query, run_sync
from tests.instances import InstanceFleet
from tests.rows import staff
from tests.tenants.jobs.test_sync_ghost_users import admin, admins, ghosts, leave

job: Any = sync_ghost_users  # its parts are replaced

MINUTE = timedelta(minutes=1)


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], datetime]:
    """Time stands still, and goes on by so much."""
    now = database_now()
    monkeypatch.setattr(owed, "database_now", lambda: now)

    def go_on(length: timedelta) -> datetime:
        nonlocal now
        now += length
        return now

    return go_on


def run_what_waits() -> list[SyncRun]:
    """As schedule_run does each minute."""
    owed.retire_leavers()
    queued = SyncRun.objects.filter(state=RunState.QUEUED).order_by("pk")
    return [runs.execute(record) for record in queued]


def statuses(fleet: InstanceFleet, user: User) -> set[str]:
    mail = f"rainbo-admin-{user.pk}@system.internal"
    return {found[mail] for at in fleet.instances if mail in (found := ghosts(at))}


def told(now: datetime | None = None) -> dict[Severity, Problem]:
    later = now or database_now() + timedelta(minutes=5)
    return {problem.severity: problem for problem in problems.judge(problems.read(later))}


def close_door(fleet: InstanceFleet, number: int, *, open_again: bool = False) -> None:
    """The server runs, and lets nobody in."""
    at = fleet[number]
    with at.server.connect() as superuser:
        superuser.execute(f"ALTER DATABASE {at.database} ALLOW_CONNECTIONS {open_again}")


def supporter() -> User:
    """An admin by a group."""
    group, _ = Group.objects.get_or_create(name="support")
    group.permissions.add(Permission.objects.get(codename="impersonate"))
    user = staff("ann")
    user.groups.add(group)
    return user


def run_sql(statement: str) -> Callable[[User], object]:
    return lambda user: query(statement, user.pk)


def delete_by_sql(user: User) -> None:
    query("DELETE FROM auth_user_groups")
    query("DELETE FROM auth_user WHERE id = %s", user.pk)


WAYS: dict[str, Callable[[User], object]] = {
    "update of many": leave,
    "active by SQL": run_sql("UPDATE auth_user SET is_active = false WHERE id = %s"),
    "staff by SQL": run_sql("UPDATE auth_user SET is_staff = false WHERE id = %s"),
    "group by SQL": run_sql("DELETE FROM auth_user_groups WHERE user_id = %s"),
    "permission by SQL": lambda _: query("DELETE FROM auth_group_permissions"),
    "group deleted": lambda _: Group.objects.all().delete(),
    "user deleted": lambda user: user.delete(),
    "user deleted by SQL": delete_by_sql,
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_leave_is_found_within_a_minute(registered: InstanceFleet, way: str) -> None:
    ann = supporter()
    run_sync("ghost_users")
    pk = ann.pk
    WAYS[way](ann)
    (run,) = run_what_waits()
    assert run.state == RunState.SUCCEEDED, everything(run)
    ann.pk = pk
    assert statuses(registered, ann) == {"Inactive"}
    assert not GhostUser.objects.exclude(confirmed="inactive").exists()
    assert run_what_waits() == []


def test_a_superuser_by_sql_alone_leaves(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    query("UPDATE auth_user SET is_superuser = false WHERE id = %s", ann.pk)
    run_what_waits()
    assert statuses(registered, ann) == {"Inactive"}


def test_the_minute_looks_for_what_is_owed(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    query("TRUNCATE syncs_periodic")
    leave(ann)
    call_command("schedule_run", "--quiet")
    assert statuses(registered, ann) == {"Inactive"}
    assert "tenants.ghosts.owed.retire_leavers" in hooks._periodic


def test_two_who_leave_within_seconds_are_retired_by_the_run_and_the_next(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = admins(2)
    run_sync("ghost_users")
    publish = job._publish

    def leave_late(*args: object) -> object:
        monkeypatch.undo()
        bob.is_active = False
        bob.save()
        waiting = SyncRun.objects.get(state=RunState.QUEUED)
        tasks.run_queued(waiting.pk)  # it meets the running one
        waiting.refresh_from_db()
        assert (waiting.state, waiting.met_id) == (RunState.QUEUED, first.pk)
        return publish(*args)

    monkeypatch.setattr(job, "_publish", leave_late)
    ann.is_active = False
    ann.save()
    first = SyncRun.objects.get(state=RunState.QUEUED)
    tasks.run_queued(first.pk)
    assert statuses(registered, ann) == {"Inactive"}
    assert statuses(registered, bob) == {"Active"}
    second = SyncRun.objects.get(state=RunState.QUEUED)
    assert second.pk in queued_now(), "its end lets the workers know at once"
    tasks.run_queued(second.pk)
    assert statuses(registered, bob) == {"Inactive"}


def queued_now() -> list[int]:
    from django_q.models import OrmQ
    from django_q.signing import SignedPackage

    return [SignedPackage.loads(row.payload)["args"][0] for row in OrmQ.objects.order_by("pk")]


def test_by_crontab_what_a_signal_asked_for_is_not_dropped(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    other = SyncRun.objects.create(
        sync="ghost_users", state=RunState.RUNNING, trigger=Trigger.COMMAND
    )
    query(
        "UPDATE syncs_lease SET token = token + 1, run_id = %s, "
        "expires_at = clock_timestamp() + interval '1 min' WHERE sync = 'ghost_users'",
        other.pk,
    )
    ann.is_active = False
    ann.save()
    call_command("schedule_run", "--quiet")
    assert SyncRun.objects.get(state=RunState.QUEUED).trigger == Trigger.SIGNAL
    assert statuses(registered, ann) == {"Active"}
    SyncRun.objects.filter(pk=other.pk).update(state=RunState.SUCCEEDED)
    query("UPDATE syncs_lease SET expires_at = NULL")
    call_command("schedule_run", "--quiet")
    assert statuses(registered, ann) == {"Inactive"}


def test_by_crontab_what_is_asked_for_meanwhile_is_run_before_it_returns(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = admins(2)
    run_sync("ghost_users")
    publish = job._publish

    def leave_late(*args: object) -> object:
        monkeypatch.undo()
        leave(bob)
        return publish(*args)

    monkeypatch.setattr(job, "_publish", leave_late)
    leave(ann)
    query("TRUNCATE syncs_periodic")
    call_command("schedule_run", "--quiet")
    assert statuses(registered, ann) == statuses(registered, bob) == {"Inactive"}


def test_an_instance_that_is_down_is_told_and_tried_until_it_is_back(
    registered: InstanceFleet, let_pass: Callable[[timedelta], datetime]
) -> None:
    ann = admin()
    run_sync("ghost_users")
    close_door(registered, 2)
    leave(ann)
    tried = []
    for minute in range(45):
        if run_what_waits():
            tried.append(minute)
        now = let_pass(MINUTE)
    close_door(registered, 2, open_again=True)
    assert tried == [0, 1, 6, 16, 26, 36]
    problem = told(now)[Severity.LEAVER_CAN_ENTER]
    assert problem.text.endswith(f"can still enter 1 instance: ann ({ann.pk}) on rds2")
    assert problem.affected == ("2",)
    assert {r.targets.count() for r in SyncRun.objects.filter(trigger=Trigger.SIGNAL)[:5]} == {1}
    let_pass(MINUTE)
    run_what_waits()
    assert statuses(registered, ann) == {"Inactive"}
    assert Severity.LEAVER_CAN_ENTER not in told(now)
    assert run_what_waits() == []


def test_it_is_tried_at_once_when_a_check_finds_it_back(
    registered: InstanceFleet, let_pass: Callable[[timedelta], datetime]
) -> None:
    ann = admin()
    run_sync("ghost_users")
    close_door(registered, 2)
    leave(ann)
    for _ in range(17):
        run_what_waits()
        now = let_pass(MINUTE)
    down = {"instance_id": 2, "health": Health.DOWN}
    InstanceCheck.objects.create(minute=now.replace(second=0, microsecond=0), **down)
    RdsInstance.objects.filter(pk=2).update(health=Health.DOWN, last_check_at=now)
    assert run_what_waits() == []
    close_door(registered, 2, open_again=True)
    RdsInstance.objects.filter(pk=2).update(health=Health.HEALTHY, last_check_at=now + MINUTE)
    assert run_what_waits()
    assert statuses(registered, ann) == {"Inactive"}


@pytest.mark.parametrize("fate", [RunState.LOST, RunState.FAILED, RunState.CANCELLED])
def test_what_is_owed_does_not_depend_on_what_became_of_its_run(
    registered: InstanceFleet, let_pass: Callable[[timedelta], datetime], fate: RunState
) -> None:
    ann = admin()
    run_sync("ghost_users")
    ann.is_active = False
    ann.save()
    SyncRun.objects.filter(state=RunState.QUEUED).update(state=fate)
    let_pass(MINUTE)
    assert run_what_waits()
    assert statuses(registered, ann) == {"Inactive"}


def test_a_run_that_dies_after_it_wrote_forgets_no_ghost(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = admin()
    monkeypatch.setattr(job, "_publish", die)
    with pytest.raises(SystemExit):
        run_sync("ghost_users")
    monkeypatch.undo()
    assert statuses(registered, ann) == {"Active"}
    leave(ann)
    run_what_waits()
    assert statuses(registered, ann) == {"Inactive"}


def test_a_run_that_dies_after_it_woke_a_ghost_forgets_none(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = admin()
    run_sync("ghost_users")
    leave(ann)
    run_what_waits()
    User.objects.update(is_active=True)
    monkeypatch.setattr(job, "_publish", die)
    with pytest.raises(SystemExit):
        run_sync("ghost_users")
    monkeypatch.undo()
    leave(ann)
    run_what_waits()
    assert statuses(registered, ann) == {"Inactive"}


def die(*_: object, **__: object) -> object:
    raise SystemExit


@pytest.mark.parametrize("options", [{}, {"only": True}, {"targets": ("1", "2", "3")}])
def test_every_run_takes_up_all_that_is_owed(
    registered: InstanceFleet, options: dict[str, object]
) -> None:
    ann, bob = admins(2)
    run_sync("ghost_users")
    leave(ann)
    if "only" in options:
        options = {"only": (str(bob.pk),)}
    run = run_sync("ghost_users", Trigger.COMMAND, **options)
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert statuses(registered, ann) == {"Inactive"}
    assert statuses(registered, bob) == {"Active"}


def test_altered_ghosts_do_not_hold_a_leaver(registered: InstanceFleet) -> None:
    team = admins(10)
    run_sync("ghost_users")
    lost = ", ".join(f"'{user.pk}'" for user in team[:8])
    for change in ("is_ghost_admin = false", "tenant_id = 5"):
        registered[2].execute(f"UPDATE users SET {change} WHERE rainbo_admin_id IN ({lost})")
    assert run_sync("ghost_users").state == RunState.PARTIAL
    leave(*team[8:])
    (run,) = run_what_waits()
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert counts(run, 2) == (2, 0, 0, 2, 0)


@pytest.mark.parametrize("others", ["DELETE FROM users", "UPDATE users SET status = 'Inactive'"])
def test_what_others_did_to_ghosts_does_not_hold_a_leaver(
    registered: InstanceFleet, others: str
) -> None:
    team = admins(10)
    run_sync("ghost_users")
    lost = ", ".join(f"'{user.pk}'" for user in team[:6])
    registered[2].execute(f"{others} WHERE rainbo_admin_id IN ({lost})")
    leave(*team[:9])
    User.objects.filter(pk__in=[user.pk for user in team[:6]]).update(is_active=True)
    run = run_sync("ghost_users", only=tuple(str(user.pk) for user in team[6:9]))
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert part(run, 2).removed == 3


def test_leavers_who_are_held_wait_for_a_person_and_keep_no_other(
    registered: InstanceFleet, let_pass: Callable[[timedelta], datetime]
) -> None:
    team = admins(12)
    run_sync("ghost_users")
    leave(*team[:5])
    (held,) = run_what_waits()
    assert held.state == RunState.HELD, everything(held)
    for _ in range(30):
        let_pass(MINUTE)
        assert run_what_waits() == []
    assert Severity.LEAVER_CAN_ENTER in told()
    leave(team[5])
    (run,) = run_what_waits()
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert statuses(registered, team[5]) == {"Inactive"}
    assert held_runs.waiting("ghost_users") == [held]


def test_an_acceptance_is_spent_only_by_what_it_let_through(registered: InstanceFleet) -> None:
    team = admins(5)
    run_sync("ghost_users")
    leave(*team[:4])
    held = run_sync("ghost_users")
    accepted = {"accept_held": held.pk, "reason": "they left"}
    close_door(registered, 3)
    run = run_sync("ghost_users", Trigger.COMMAND, **accepted)
    assert run.state == RunState.PARTIAL, everything(run)
    assert not SyncRun.objects.get(pk=held.pk).accepted_by
    assert {row.target for row in held.held_changes.all()} == {"3"}
    assert f"let through by run {run.pk}" in everything(held)
    assert f"--failed-from {run.pk} --accept-held {held.pk}" in run_report.retry_command(run)
    close_door(registered, 3, open_again=True)
    run = run_sync("ghost_users", Trigger.COMMAND, failed_from=run.pk, **accepted)
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert SyncRun.objects.get(pk=held.pk).accepted_by == run
    assert sorted(ghosts(registered[3]).values()) == ["Active", *["Inactive"] * 4]


def test_an_acceptance_whose_run_dies_before_it_let_anything_through_is_unspent(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = admins(5)
    run_sync("ghost_users")
    leave(*team[:4])
    held = run_sync("ghost_users")
    accepted = {"accept_held": held.pk, "reason": "they left"}
    monkeypatch.setattr(job.connections, "each_instance", die)
    with pytest.raises(SystemExit):
        run_sync("ghost_users", Trigger.COMMAND, **accepted)
    monkeypatch.undo()
    assert run_sync("ghost_users", Trigger.COMMAND, **accepted).state == RunState.SUCCEEDED


def status_line() -> tuple[str, str, int]:
    """What the first page, `rainbo_status` and its exit code say."""
    out = StringIO()
    facts = problems.read(database_now())
    try:
        call_command("rainbo_status", "--check", stdout=out)
    except SystemExit as end:
        return verdict.render(facts).sentence, out.getvalue(), int(str(end.code))
    return verdict.render(facts).sentence, out.getvalue(), 0


def test_where_all_are_refused_the_run_is_partial_and_it_is_told(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    confirm_all_syncs()
    ann = admin()
    for at in registered.instances:
        at.add_user(5, 7, f"rainbo-admin-{ann.pk}@system.internal")
    run = run_sync("ghost_users")
    assert (run.state, run_report.exit_code([run])) == (RunState.PARTIAL, 3)
    assert not run.targets.exclude(state=TargetState.FAILED).exists()
    assert not run.targets.filter(passing=True).exists(), "no retry repairs a refusal"
    assert f"ann ({ann.pk}) is refused: user 5 there has its e-mail" in part(run, 2).error
    assert not Confirmation.objects.filter(sync="ghost_users", run=run).exists()
    found = told()[Severity.FAILING]
    assert found.text == (
        "3 ghost users of admins refused, missing or unknown on 3 instances: "
        f"ann ({ann.pk}) on rds1, ann ({ann.pk}) on rds2, ann ({ann.pk}) on rds3"
    )
    page, _, code = status_line()
    assert "ll is on time" not in page + capsys.readouterr().out
    assert code == 1


def confirm_all_syncs() -> None:
    for sync in ("instance_health", "tenant_summaries", "user_routing", "ghost_users"):
        for number in (1, 2, 3):
            Confirmation.objects.create(sync=sync, target=str(number), at=database_now())


STORES_NOTHING = """
    CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION skip()"""


@pytest.mark.parametrize(
    ("spoil", "outcome"),
    [
        (STORES_NOTHING, "missed"),
        ("INSERT INTO users (id, email, is_ghost_admin) VALUES (9, 'x@y', true)", "unknown"),
    ],
)
def test_what_is_missed_or_unknown_is_not_called_a_success(
    registered: InstanceFleet, spoil: str, outcome: str
) -> None:
    admin()
    registered[2].execute(spoil)
    run = run_sync("ghost_users")
    assert run.state == RunState.PARTIAL, everything(run)
    assert f"is {outcome}: " in part(run, 2).error
    assert part(run, 2).passing is (outcome == "missed")
    assert part(run, 1).state == TargetState.SUCCEEDED


CHECK = "ALTER TABLE users ADD CHECK (name !~ 'Robert') NOT VALID"


def test_a_name_that_breaks_a_check_stops_that_ghost_alone(registered: InstanceFleet) -> None:
    ann, bob = admins(2)
    run_sync("ghost_users")
    registered[2].execute(CHECK)
    leave(ann)
    bad, carl = admin("bad", first_name="Robert"), admin("carl")
    run = run_sync("ghost_users")
    assert run.state == RunState.PARTIAL, everything(run)
    assert counts(run, 2) == (2, 1, 0, 1, 1)
    assert (
        "violates check constraint" in GhostUser.objects.get(admin_id=bad.pk, instance=2).last_error
    )
    assert f"bad ({bad.pk}) is refused" in part(run, 2).error
    assert statuses(registered, ann) == {"Inactive"}
    assert statuses(registered, bob) == statuses(registered, carl) == {"Active"}
    assert len(ghosts(registered[2])) == 3


def test_a_leaver_whose_row_breaks_a_check_stops_no_other(registered: InstanceFleet) -> None:
    bad = admin("bad", first_name="Robert")
    ann = admin("ann")
    run_sync("ghost_users")
    registered[2].execute(CHECK)
    leave(ann, bad)
    carl = admin("carl")
    run = run_sync("ghost_users")
    assert run.state == RunState.PARTIAL, everything(run)
    assert statuses(registered, ann) == {"Inactive"}
    assert statuses(registered, carl) == {"Active"}
    known = GhostUser.objects.get(admin_id=bad.pk, instance=2)
    assert known.confirmed == "unknown"
    assert "violates check constraint" in known.last_error
    assert Severity.LEAVER_CAN_ENTER in told()


def test_a_trigger_that_raises_stops_the_ghost_that_it_is_about(
    registered: InstanceFleet,
) -> None:
    ann = admin()
    run_sync("ghost_users")
    registered[2].execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.name = 'bad' THEN RAISE 'no bad name'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION no()"
    )
    leave(ann)
    bad = admin("bad")
    run = run_sync("ghost_users")
    assert f"bad ({bad.pk}) is refused: no bad name" in part(run, 2).error
    assert statuses(registered, ann) == {"Inactive"}


def test_an_altered_ghost_of_a_leaver_is_gone_once_somebody_made_it_inactive(
    registered: InstanceFleet,
) -> None:
    ann = admin()
    run_sync("ghost_users")
    registered[2].execute("UPDATE users SET is_ghost_admin = false")
    leave(ann)
    (run,) = run_what_waits()
    assert run.state == RunState.PARTIAL, everything(run)
    registered[2].execute("UPDATE users SET status = 'Inactive'")
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert not owed.find().exists()


@pytest.mark.parametrize(
    ("delays", "waits"),
    [((60, 300, 600), [60, 60, 300, 600, 600]), ((30,), [30] * 5), ((), [600] * 5)],
)
def test_it_is_tried_by_the_usual_delays_and_then_by_the_last(
    settings: object, delays: tuple[int, ...], waits: list[int]
) -> None:
    settings.RAINBO_RETRY_SECONDS = delays  # type: ignore[attr-defined]
    assert [owed.retry_after(tries).total_seconds() for tries in range(5)] == waits


def test_what_only_a_person_can_repair_is_tried_each_hour() -> None:
    waits = [owed.retry_after(tries, altered=True).total_seconds() for tries in (1, 2, 3, 4)]
    assert waits == [60, 300, 3600, 3600]


def test_a_paused_schedule_keeps_no_leaver(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    SyncSchedule.objects.filter(sync="ghost_users").update(paused_until=database_now() + MINUTE)
    leave(ann)
    run_what_waits()
    assert statuses(registered, ann) == {"Inactive"}


def test_rows_that_are_being_published_are_not_waited_for(registered: InstanceFleet) -> None:
    ann = admin()
    run_sync("ghost_users")
    leave(ann)
    with open_session("test") as publishing, publishing.transaction():
        publishing.execute("SELECT FROM ghost_users WHERE instance_id = 2 FOR UPDATE")
        assert owed.retire_leavers() is not None
    assert GhostUser.objects.filter(owed_since=None).count() == 1
