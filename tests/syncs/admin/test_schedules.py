"""The console's pages of schedules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from activity.models import Activity
from rainbo.time_zone import COOKIE
from syncs.admin.schedule_actions import LOCAL
from syncs.dispatch import reconcile
from syncs.models import RunState, SyncRun, SyncSchedule, Trigger
from syncs.schedules import store
from syncs.schedules.pause import PauseEnd
from syncs.schedules.store import OFF
from tests.pages import said, text_of
from tests.rows import ended_run, instance_row, staff

LIST = "/admin/syncs/syncschedule/"
WAYS = ["run", "dry_run", "pause", "resume"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def all_planned() -> None:
    instance_row(1, is_master=True)
    instance_row(2)
    reconcile.reconcile()


def kept(sync: str = "user_routing") -> SyncSchedule:
    return SyncSchedule.objects.select_related("schedule").get(sync=sync)


def test_run_now_without_a_worker_says_how_to_start_one(admin_client: Client) -> None:
    shown = said(admin_client.post(way("run"), follow=True))
    assert "No worker is there to take it: none ever was. To start workers: " in shown
    assert "python manage.py schedule_work." in shown


def page(sync: str = "user_routing") -> str:
    return f"{LIST}{kept(sync).pk}/change/"


def way(name: str, sync: str = "user_routing") -> str:
    return reverse(f"admin:syncs_syncschedule_{name}", args=[kept(sync).pk])


def typed(sync: str = "user_routing", **fields: Any) -> dict[str, Any]:
    """What the form sends for a daily frequency, which the routes warn of."""
    shown = {"enabled": "on", "kind": "15", "at": "02:00", "seen": store.version(kept(sync))}
    return {name: value for name, value in (shown | fields).items() if value is not None}


def save(client: Client, sync: str = "user_routing", **fields: Any) -> Any:
    return client.post(page(sync), typed(sync, **fields), follow=True)


def who_may(*codenames: str) -> Any:
    user = staff()
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def test_the_list_shows_frequency_state_and_next_time(admin_client: Client) -> None:
    Schedule.objects.filter(name="ghost_users").update(repeats=OFF)
    run = ended_run("user_routing")
    shown = text_of(admin_client.get(LIST))
    for expected in (
        "E-mail routes",
        "every 15 minutes",
        "every day at 02:00 UTC",
        f"run {run.pk}",
    ):
        assert expected in shown
    assert ">off</span>" in admin_client.get(LIST).content.decode()


def test_the_page_shows_the_frequency_and_its_next_times(admin_client: Client) -> None:
    shown = text_of(admin_client.get(page("ghost_users")))
    assert "every day at 02:00 UTC" in shown
    assert shown.count("02:00 UTC") >= 6  # the description and the next five times


def test_times_are_shown_in_the_viewers_zone_too(admin_client: Client, settings: Any) -> None:
    settings.RAINBO_TIME_ZONE = "Asia/Kolkata"
    shown = text_of(admin_client.get(page("ghost_users")))
    assert "next times in UTC in Asia/Kolkata" in shown
    assert shown.count("07:30 IST") == 5


@pytest.mark.parametrize(
    ("fields", "cron"),
    [
        ({"kind": "1"}, "* * * * *"),
        ({"kind": "5"}, "*/5 * * * *"),
        ({"kind": "10"}, "*/10 * * * *"),
        ({"kind": "30"}, "*/30 * * * *"),
        ({"kind": "hourly", "minute": "7"}, "7 * * * *"),
        ({"kind": "hours", "hours": "6", "minute": "5"}, "5 */6 * * *"),
        ({"kind": "daily", "at": "03:30"}, "30 3 * * *"),
        ({"kind": "weekly", "at": "03:30", "weekday": "0"}, "30 3 * * 0"),
        ({"kind": "monthly", "at": "03:30", "day": "28"}, "30 3 28 * *"),
        ({"kind": "cron", "cron": " */20 6-18 * * mon-FRI"}, "*/20 6-18 * * 1-5"),
    ],
)
def test_every_frequency_is_stored(admin_client: Client, fields: dict[str, str], cron: str) -> None:
    answer = save(admin_client, accepted=cron, **fields)
    assert "was changed successfully" in said(answer)
    row = kept().schedule
    assert (row.cron, row.name, row.args) == (cron, "user_routing", "('user_routing',)")
    assert row.next_run > timezone.now()
    assert kept().changed_by == "admin"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "daily", "at": ""}, "Required for every day"),
        ({"kind": "hourly", "minute": "60"}, "less than or equal to 59"),
        ({"kind": "monthly", "day": "31"}, "less than or equal to 28"),
        ({"kind": "cron", "cron": "0 0 31 2 *"}, "Enter a valid cron expression"),
        ({"kind": "cron", "cron": "@hourly"}, "Enter a valid cron expression"),
        ({"kind": "cron", "cron": ""}, "Required for a cron expression"),
        ({"kind": "fortnightly"}, "Select a valid choice"),
        ({"instances": ["9"]}, "Select a valid choice"),
        ({"instances": ["1; DROP TABLE"]}, "Select a valid choice"),
        ({"grace_seconds": "-1"}, "greater than or equal to 0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    admin_client: Client, fields: dict[str, Any], expected: str
) -> None:
    before = store.version(kept())
    assert expected in text_of(save(admin_client, **fields))
    assert store.version(kept()) == before


def test_what_another_frequency_needs_does_not_matter(admin_client: Client) -> None:
    save(admin_client, kind="5", minute="99", at="never", cron="x")
    assert kept().schedule.cron == "*/5 * * * *"


def test_options_grace_and_note_are_stored(admin_client: Client) -> None:
    chosen = {"instances": ["2"], "force": "on", "grace_seconds": "30", "note": "only rds2"}
    save(admin_client, "instance_health", kind="1", **chosen)
    found = kept("instance_health")
    assert found.options == {"targets": ["2"], "force": True}
    assert (found.grace_seconds, found.note) == (30, "only rds2")
    assert "instances 2; forced" in text_of(admin_client.get(LIST))


def test_a_sync_is_not_given_an_instance_that_it_does_not_take(admin_client: Client) -> None:
    kept("user_routing").schedule.delete()
    fields = {"sync": "user_routing", "kind": "15", "enabled": "on", "instances": ["2"]}
    shown = text_of(admin_client.post(f"{LIST}add/", fields))
    assert "E-mail routes does not include instance 2" in shown


def test_a_schedule_that_is_missing_is_created(admin_client: Client) -> None:
    kept("user_routing").schedule.delete()
    assert 'value="user_routing"' in admin_client.get(f"{LIST}add/").content.decode()
    fields = {"sync": "user_routing", "kind": "5", "note": "again"}
    admin_client.post(f"{LIST}add/", fields)
    found = kept()
    assert (found.schedule.cron, found.schedule.repeats, found.note) == (
        "*/5 * * * *",
        OFF,
        "again",
    )


@pytest.mark.parametrize("sync", ["user_routing", "os.system", ""])
def test_only_a_sync_without_schedule_can_get_one(admin_client: Client, sync: str) -> None:
    assert admin_client.get(f"{LIST}add/").status_code == 403
    kept("ghost_users").schedule.delete()
    shown = text_of(admin_client.post(f"{LIST}add/", {"sync": sync, "kind": "5"}))
    assert "Select a valid choice" in shown or "This field is required" in shown
    assert Schedule.objects.count() == 3


def test_a_hostile_post_changes_neither_function_nor_arguments(admin_client: Client) -> None:
    hostile = {
        "func": "os.system",
        "args": "('touch /tmp/x',)",
        "kwargs": "force=True",
        "hook": "os.system",
        "schedule": "1",
        "sync": "ghost_users",
        "next_run": "2020-01-01 00:00",
        "next_run_0": "2020-01-01",
        "options": '{"accept_held": 1}',
        "repeats": "1",
    }
    admin_client.post(page(), typed(kind="5") | hostile)
    found = kept()
    row = found.schedule
    assert (row.func, row.args) == (store.FUNCTION, "('user_routing',)")
    assert (row.kwargs, row.hook, row.repeats) == (None, None, -1)
    assert (row.cron, found.sync, found.options) == ("*/5 * * * *", "user_routing", {})
    assert row.next_run > timezone.now()


def test_saving_without_another_frequency_leaves_the_next_time(admin_client: Client) -> None:
    due = timezone.now() - timedelta(seconds=20)
    Schedule.objects.filter(name="user_routing").update(next_run=due)
    save(admin_client, note="looked at")
    assert (kept().schedule.next_run, kept().note) == (due, "looked at")
    assert not SyncRun.objects.exists()
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("seen", ["", "yesterday"])
def test_a_form_without_a_fitting_version_is_refused(admin_client: Client, seen: str) -> None:
    assert "check it again" in said(save(admin_client, kind="5", seen=seen))
    assert kept().schedule.cron == "*/15 * * * *"


def test_an_old_form_is_refused_with_the_name_of_who_was_faster(admin_client: Client) -> None:
    old = typed(kind="5")
    save(admin_client, kind="10")
    answer = admin_client.post(page(), old, follow=True)
    assert "was changed by admin at" in said(answer)
    assert kept().schedule.cron == "*/10 * * * *"


def test_a_preview_saves_nothing(admin_client: Client) -> None:
    shown = text_of(save(admin_client, kind="weekly", at="03:30", weekday="0", _preview=""))
    assert "every Sunday at 03:30 UTC" in shown
    assert "Please correct" not in shown
    assert kept().schedule.cron == "*/15 * * * *"


def test_warnings_are_read_before_anything_is_saved(admin_client: Client) -> None:
    shown = text_of(save(admin_client, kind="daily", at="03:30"))
    assert "Not saved yet" in shown
    assert "The freshness limit is 17 min" in shown
    assert kept().schedule.cron == "*/15 * * * *"
    save(admin_client, kind="daily", at="03:30", accepted="30 3 * * *")
    assert kept().schedule.cron == "30 3 * * *"


def test_warnings_of_another_frequency_are_no_acceptance(admin_client: Client) -> None:
    shown = text_of(save(admin_client, kind="daily", at="04:30", accepted="30 3 * * *"))
    assert "Not saved yet" in shown
    assert kept().schedule.cron == "*/15 * * * *"


def test_a_note_is_saved_without_accepting_old_warnings(admin_client: Client) -> None:
    save(admin_client, kind="daily", at="03:30", accepted="30 3 * * *")
    save(admin_client, kind="daily", at="03:30", note="as wanted")
    assert kept().note == "as wanted"


def test_switching_off_keeps_the_row(admin_client: Client) -> None:
    save(admin_client, enabled=None)
    assert kept().schedule.repeats == OFF
    assert ">off</span>" in admin_client.get(LIST).content.decode()


def test_a_run_is_requested_with_the_schedules_options(admin_client: Client) -> None:
    SyncSchedule.objects.filter(sync="instance_health").update(options={"targets": ["2"]})
    answer = admin_client.post(way("run", "instance_health"))
    run = SyncRun.objects.get()
    assert answer.headers["Location"] == f"/admin/syncs/syncrun/{run.pk}/change/"
    assert (run.sync, run.trigger, run.actor) == ("instance_health", Trigger.BUTTON, "admin")
    assert (run.state, run.options) == (RunState.QUEUED, {"targets": ["2"]})
    assert OrmQ.objects.count() == 1


def test_a_run_that_waits_already_is_shown_and_not_asked_for_again(admin_client: Client) -> None:
    admin_client.post(way("run"))
    waiting = SyncRun.objects.get()
    for _ in range(3):
        answer = admin_client.post(way("run"), follow=True)
        assert said(answer).endswith(f"Run {waiting.pk} with the same options is already waiting.")
        assert answer.redirect_chain == [(f"/admin/syncs/syncrun/{waiting.pk}/change/", 302)]
    assert (SyncRun.objects.count(), Activity.objects.count()) == (1, 1)
    admin_client.post(way("dry_run"))
    assert SyncRun.objects.count() == 2, "it does something else"
    SyncRun.objects.update(state=RunState.RUNNING)
    admin_client.post(way("run"))
    assert SyncRun.objects.count() == 3


def test_a_dry_run_is_one(admin_client: Client) -> None:
    admin_client.post(way("dry_run"))
    assert SyncRun.objects.get().options == {"dry_run": True}


def test_the_zone_is_that_of_the_viewers_browser(admin_client: Client) -> None:
    admin_client.cookies[COOKIE] = "America/New_York"
    assert "next times in UTC in America/New_York" in text_of(admin_client.get(page("ghost_users")))


def test_a_pause_ends_in_the_zone_that_the_page_showed(admin_client: Client) -> None:
    """Also when the browser has sent another zone meanwhile."""
    ends = (timezone.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    tokyo = ends.astimezone(ZoneInfo("Asia/Tokyo")).strftime(LOCAL)
    admin_client.cookies[COOKIE] = "America/New_York"
    admin_client.post(way("pause"), {"until": tokyo, "reason": "why", "zone": "Asia/Tokyo"})
    assert kept().paused_until == ends


def local(delta: timedelta) -> str:
    return (timezone.now() + delta).strftime(LOCAL)


def test_a_pause_is_shown_and_taken_away(admin_client: Client) -> None:
    form = {"until": local(timedelta(hours=50)), "reason": "moving rds1"}
    answer = admin_client.post(way("pause"), form, follow=True)
    assert said(answer).startswith("Paused until ")
    assert kept().paused_by == "admin"
    for shown in (text_of(answer), text_of(admin_client.get(LIST))):
        assert "moving rds1 (admin)" in shown
    admin_client.post(way("resume"))
    assert kept().paused_until is None
    history = text_of(admin_client.get(f"{LIST}{kept().pk}/history/", follow=True))
    assert "moving rds1" in history
    assert "resumed a schedule" in history


def test_a_pause_ends_where_a_button_says(admin_client: Client) -> None:
    shown = text_of(admin_client.get(page()))
    assert "Pause until tomorrow 08:00" in shown
    tokyo = {"zone": "Asia/Tokyo", "reason": "why", "until": ""}
    admin_client.post(way("pause"), tokyo | {"end": "tomorrow"})
    expected = PauseEnd.TOMORROW.after(timezone.now(), ZoneInfo("Asia/Tokyo"))
    assert kept().paused_until == expected
    answer = admin_client.post(way("pause"), tokyo | {"end": "never"}, follow=True)
    assert "Not paused" in said(answer)
    assert kept().paused_until == expected


@pytest.mark.parametrize(
    ("until", "reason", "expected"),
    [
        (timedelta(hours=-1), "why", "must end in the future"),
        (timedelta(days=367), "why", "may last a year at most"),
        (None, "why", "Enter the end of the pause"),
        (timedelta(hours=1), "", "Enter a reason"),
    ],
)
def test_a_pause_without_sense_is_refused(
    admin_client: Client, until: timedelta | None, reason: str, expected: str
) -> None:
    form = {"until": local(until) if until else "", "reason": reason}
    assert expected in said(admin_client.post(way("pause"), form, follow=True))
    assert kept().paused_until is None


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("until", ["9999-12-31T23:59", "0001-01-01T00:00"])
def test_a_pause_at_the_ends_of_time_is_refused(
    admin_client: Client, settings: Any, zone: str, until: str
) -> None:
    settings.RAINBO_TIME_ZONE = zone
    answer = admin_client.post(way("pause"), {"until": until, "reason": "why"}, follow=True)
    assert "Not paused" in said(answer)
    assert kept().paused_until is None


@pytest.mark.parametrize("name", WAYS)
def test_looking_is_no_way_to_act(admin_client: Client, name: str) -> None:
    assert admin_client.get(way(name)).status_code == 405


@pytest.mark.parametrize("name", WAYS)
def test_who_may_only_look_can_run_nothing(client: Client, name: str) -> None:
    client.force_login(who_may("view_syncschedule", "view_syncrun"))
    form = {"until": local(timedelta(hours=1)), "reason": "x"}
    assert client.post(way(name), form).status_code == 403
    assert client.post(page(), typed(kind="5")).status_code == 403
    assert not SyncRun.objects.exists()
    assert kept().paused_until is None
    shown = text_of(client.get(page()))
    assert "every 15 minutes" in shown
    for button in ("Run now", "Dry run", "Pause", "Save", "Preview"):
        assert button not in shown


def test_running_and_editing_are_rights_of_their_own(client: Client) -> None:
    client.force_login(who_may("view_syncschedule", "change_syncschedule"))
    assert client.post(way("run")).status_code == 403
    shown = text_of(client.get(page()))
    assert "Save" in shown
    assert "Run now" not in shown


def test_who_may_run_needs_no_right_to_edit(client: Client) -> None:
    client.force_login(who_may("view_syncschedule", "run_sync", "view_syncrun"))
    assert client.post(way("run"), follow=True).status_code == 200
    assert client.post(way("resume")).status_code == 403
    assert client.post(page(), typed(kind="5")).status_code == 403
    assert SyncRun.objects.count() == 1


def test_the_row_of_a_sync_that_exists_cannot_vanish(admin_client: Client) -> None:
    url = f"{LIST}{kept().pk}/delete/"
    assert admin_client.post(url, {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [kept().pk], "post": "yes"}
    admin_client.post(LIST, chosen)
    assert kept().schedule.pk


def test_the_row_of_a_sync_that_is_no_more_can_be_removed(admin_client: Client) -> None:
    store.create("forgotten", "0 4 * * *")
    url = f"{LIST}{kept('forgotten').pk}"
    assert "forgotten" in text_of(admin_client.get(f"{url}/change/"))
    admin_client.post(f"{url}/delete/", {"post": "yes"})
    assert not Schedule.objects.filter(name="forgotten").exists()


def test_the_queues_own_pages_are_not_there(admin_client: Client) -> None:
    for model in ("schedule", "task", "success", "failure", "ormq"):
        assert admin_client.get(f"/admin/django_q/{model}/").status_code == 404


def test_the_sidebar_leads_there(admin_client: Client) -> None:
    assert f'href="{LIST}"' in admin_client.get("/admin/").content.decode()
