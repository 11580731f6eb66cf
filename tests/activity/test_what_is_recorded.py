"""What users do in the console is recorded; what is rejected or fails is not recorded as done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from activity.models import Activity
from syncs.admin.schedule_actions import LOCAL
from syncs.dispatch import reconcile
from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import RunState, SyncRun, SyncSchedule, Trigger
from syncs.schedules import store
from tests.rows import instance_row, staff

pytestmark = pytest.mark.django_db
SCHEDULES = "/admin/syncs/syncschedule/"


@pytest.fixture
def schedule() -> SyncSchedule:
    instance_row(1, is_master=True)
    reconcile.reconcile()
    return SyncSchedule.objects.get(sync="user_routing")


def done() -> list[str]:
    return [*Activity.objects.order_by("pk").values_list("action", flat=True)]


def only() -> Any:
    return Activity.objects.get()


def way(name: str, schedule: SyncSchedule) -> str:
    return reverse(f"admin:syncs_syncschedule_{name}", args=[schedule.pk])


def save(client: Client, schedule: SyncSchedule, **fields: Any) -> Any:
    shown = {"enabled": "on", "kind": "15", "seen": store.version(schedule)}
    wanted = {name: value for name, value in (shown | fields).items() if value is not None}
    return client.post(f"{SCHEDULES}{schedule.pk}/change/", wanted, follow=True)


@pytest.mark.parametrize("dry", [False, True])
def test_a_run_that_a_button_asks_for(
    admin_client: Client, schedule: SyncSchedule, dry: bool
) -> None:
    admin_client.post(way("dry_run" if dry else "run", schedule))
    run = SyncRun.objects.get()
    entry = only()
    assert (entry.action, entry.subject) == ("run.requested", str(run))
    assert (entry.subject_kind, entry.subject_id) == ("syncs.syncrun", str(run.pk))
    assert entry.after == {"options": {"dry_run": True} if dry else {}}


def test_a_run_that_is_cancelled_once(admin_client: Client, schedule: SyncSchedule) -> None:
    run = runs.request("user_routing", Options(), Trigger.COMMAND)
    for _ in range(2):
        admin_client.post(reverse("admin:syncs_syncrun_cancel", args=[run.pk]))
    assert (only().action, only().after) == ("run.cancelled", {"state": RunState.CANCELLED})


def test_a_pause_and_its_end(admin_client: Client, schedule: SyncSchedule) -> None:
    until = timezone.now().replace(second=0, microsecond=0) + timedelta(hours=2)
    form = {"until": until.strftime(LOCAL), "reason": "moving rds1"}
    admin_client.post(way("pause", schedule), form)
    admin_client.post(way("resume", schedule))
    resumed: Any
    paused: Any
    resumed, paused = Activity.objects.all()
    assert (paused.action, resumed.action) == ("schedule.paused", "schedule.resumed")
    assert (paused.before, resumed.after) == ({"paused_until": None, "pause_reason": ""},) * 2
    assert paused.after == resumed.before
    assert paused.after["pause_reason"] == "moving rds1"


def test_a_pause_without_sense_is_not_recorded(
    admin_client: Client, schedule: SyncSchedule
) -> None:
    admin_client.post(way("pause", schedule), {"until": "", "reason": ""})
    assert not done()


def test_nothing_is_done_that_can_not_be_recorded(
    admin_client: Client, schedule: SyncSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    for module in ("schedule_actions", "run_requests"):
        monkeypatch.setattr(f"syncs.admin.{module}.record", fail)
    until = (timezone.now() + timedelta(hours=2)).strftime(LOCAL)
    admin_client.raise_request_exception = False
    for name in ("pause", "run"):
        answer = admin_client.post(way(name, schedule), {"until": until, "reason": "why"})
        assert answer.status_code == 500
    schedule.refresh_from_db()
    assert schedule.paused_until is None
    assert not SyncRun.objects.exists()


def test_an_edit_of_a_schedule(admin_client: Client, schedule: SyncSchedule) -> None:
    save(admin_client, schedule, kind="5", note="closer", force="on")
    entry = only()
    assert entry.action == "schedule.changed"
    assert entry.before == {"cron": "*/15 * * * *", "options": {}, "note": ""}
    assert entry.after == {"cron": "*/5 * * * *", "options": {"force": True}, "note": "closer"}


def test_a_schedule_is_switched_off_and_on(admin_client: Client, schedule: SyncSchedule) -> None:
    save(admin_client, schedule, enabled=None)
    save(admin_client, SyncSchedule.objects.get(pk=schedule.pk))
    assert done() == ["schedule.disabled", "schedule.enabled"]
    off = Activity.objects.get(action="schedule.disabled")
    assert (off.before, off.after) == ({"enabled": True}, {"enabled": False})


def test_saving_what_is_there_is_no_change(admin_client: Client, schedule: SyncSchedule) -> None:
    save(admin_client, schedule)
    assert not done()


def test_an_edit_that_came_too_late(admin_client: Client, schedule: SyncSchedule) -> None:
    save(admin_client, schedule, kind="5", seen="long ago")
    assert not done()


def test_a_schedule_that_is_added(admin_client: Client, schedule: SyncSchedule) -> None:
    schedule.schedule.delete()
    form = {"sync": "user_routing", "enabled": "on", "kind": "15"}
    admin_client.post(f"{SCHEDULES}add/", form)
    assert only().action == "schedule.added"
    assert only().subject_id == str(SyncSchedule.objects.get(sync="user_routing").pk)
    assert only().after["cron"] == "*/15 * * * *"


def test_what_is_refused_is_recorded_as_refused(client: Client, schedule: SyncSchedule) -> None:
    client.force_login(staff("viewer"))
    assert client.post(way("run", schedule)).status_code == 403
    assert client.get(f"{SCHEDULES}{schedule.pk}/change/").status_code == 403
    entry = only()
    assert (entry.actor, entry.action) == ("viewer", "action.refused")
    assert entry.subject == way("run", schedule)


def test_a_permission_that_is_given_to_a_group(admin_client: Client) -> None:
    group = Group.objects.create(name="night shift")
    run = Permission.objects.get(codename="run_sync")
    page = f"/admin/auth/group/{group.pk}/change/"
    admin_client.post(page, {"name": group.name, "permissions": [run.pk]})
    entry = only()
    assert (entry.action, entry.subject) == ("group.changed", "night shift")
    assert entry.before == {"permissions": []}
    assert entry.after == {"permissions": ["syncs.run_sync"]}


def test_a_user_who_is_deactivated_and_loses_a_group(admin_client: Client) -> None:
    user = staff("leaver")
    user.groups.add(Group.objects.create(name="night shift"))
    form = {"username": "leaver", "is_staff": "on", "date_joined_0": "2026-01-01"}
    form |= {"date_joined_1": "00:00:00"}
    admin_client.post(f"/admin/auth/user/{user.pk}/change/", form)
    assert done() == ["user.deactivated", "user.changed"]
    off, changed = Activity.objects.order_by("pk")
    assert (off.before, off.after) == ({"is_active": True}, {"is_active": False})
    assert (changed.before, changed.after) == ({"groups": ["night shift"]}, {"groups": []})


def test_users_who_are_deleted_together(admin_client: Client) -> None:
    gone = [staff("one").pk, staff("two").pk]
    chosen = {"action": "delete_selected", "_selected_action": gone, "post": "yes"}
    admin_client.post("/admin/auth/user/", chosen)
    entries = Activity.objects.order_by("subject")
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("user.deleted", "one"),
        ("user.deleted", "two"),
    ]


def test_a_password_that_an_admin_sets(admin_client: Client) -> None:
    user, secret = staff("ann"), "correct-horse-battery"
    form = {"password1": secret, "password2": secret, "usable_password": "true"}
    admin_client.post(f"/admin/auth/user/{user.pk}/password/", form)
    assert (only().action, only().subject) == ("user.password_changed", "ann")
    assert secret not in f"{only().before}{only().after}"
