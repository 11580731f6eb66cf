"""The console's first page: is anything wrong, and why?"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import Schedule

from rainbo.dashboard import instance_cards
from syncs.models import (
    Confirmation,
    Heartbeat,
    Lease,
    RunState,
    SyncRun,
    SyncSchedule,
    Trigger,
    WorkerEvent,
)
from syncs.status import run_history
from tenants.health import overview
from tenants.models import InstanceCheck, RdsInstance, UserRoute
from tenants.models.instance import Health
from tests.integrations import rows as connection_rows
from tests.pages import text_of
from tests.rainbo import fleets
from tests.rows import ended_run, instance_row, run_part, staff
from tests.syncs.plans import default_schedules

PAGE, PART = "/admin/", "/admin/now/"
SCHEDULES, HOUR = "/admin/syncs/syncschedule/", timedelta(hours=1)
REFRESH = {"X-Rainbo-Refresh": "1"}
MINUTE = timedelta(minutes=1)
QUERIES = 14
SECTIONS = ("Unhealthy instances", "Syncs sync state", "Other instances")

pytestmark = pytest.mark.django_db


def well(instances: int = 3, runs: int = 120) -> None:
    """A fleet without any problem."""
    fleets.write(instances, runs)
    default_schedules()
    Heartbeat.objects.create(worker="host:1", at=timezone.now())


def who_may(*codenames: str) -> User:
    user = staff()
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def seen_by(client: Client, *codenames: str) -> str:
    client.force_login(who_may(*codenames))
    return text_of(client.get(PAGE))


def part(client: Client, query: str = "") -> str:
    response = client.get(f"{PART}{query}", headers=REFRESH)
    assert response.status_code == 200
    return response.content.decode()


def kept(sync: str = "user_routing") -> SyncSchedule:
    return SyncSchedule.objects.get(sync=sync)


def test_a_healthy_fleet_is_told_in_one_sentence(admin_client: Client) -> None:
    well()
    shown = text_of(admin_client.get(PAGE))
    assert re.search(r"healthy All is on time: health checks 3\d s, tenant summaries 3\d s", shown)
    assert "working last heartbeat" in shown
    assert "other problem" not in shown


def test_a_sync_tells_its_last_run_its_duration_and_its_next_time(admin_client: Client) -> None:
    well(runs=0)
    for seconds in (11.0, 11.0, 12.0):
        run = ended_run(seconds=seconds)
    shown = text_of(admin_client.get(PAGE))
    assert f"run {run.pk} succeeded 5 min ago 12.0 s usually 11.0 s in " in shown


def test_the_strip_tells_every_run_and_its_ends(admin_client: Client) -> None:
    well(runs=0)
    runs = [ended_run(seconds=10) for _ in range(32)]
    runs.append(ended_run(state=RunState.PARTIAL, seconds=20))
    runs.append(ended_run(state=RunState.FAILED, seconds=5))
    page = part(admin_client)
    bars = re.findall(r'<span class="bar bar-(\w+)" title="([^"]+)"', page)
    assert len(bars) == run_history.SHOWN
    assert [tone for tone, _ in bars[-3:]] == ["good", "warning", "bad"]
    assert bars[-1][1].startswith(f"run {runs[-1].pk} failed in 5.0 s, 2")
    ends = "min 5.0 s, max 20.0 s"
    assert f'aria-label="30 runs: 28 succeeded, 1 partial, 1 failed; {ends}"' in page
    assert ends in text_of(admin_client.get(PAGE))
    assert 'href="/admin/syncs/syncrun/?sync=user_routing"' in page


def order(page: str) -> list[str]:
    return re.findall(r'<tbody id="sync-(\w+)"', page)


def test_what_is_bad_comes_first(admin_client: Client) -> None:
    well()
    usual = order(part(admin_client))
    assert usual[:3] == ["instance_health", "tenant_summaries", "user_routing"]
    at = timezone.now() - timedelta(days=3)
    Confirmation.objects.filter(sync="ghost_users").update(at=at)
    Confirmation.objects.filter(sync="user_routing").delete()
    assert order(part(admin_client))[:3] == ["ghost_users", "user_routing", "instance_health"]


def test_what_the_workers_delay_stands_above_a_pause(admin_client: Client) -> None:
    well()
    until = timezone.now() + timedelta(days=2)
    SyncSchedule.objects.filter(sync="instance_health").update(
        paused_until=until, pause_reason="moving rds1"
    )
    at = timezone.now() - timedelta(days=3)
    Heartbeat.objects.update(at=at)
    Confirmation.objects.filter(sync="ghost_users").update(at=at)
    assert order(part(admin_client))[:2] == ["ghost_users", "instance_health"]


def test_unhealthy_instances_stand_above_the_syncs(admin_client: Client) -> None:
    well(12)
    RdsInstance.objects.filter(pk__in=range(2, 11)).update(health=Health.DEGRADED)
    shown = text_of(admin_client.get(PAGE))
    begin, syncs, others = (shown.index(f" {h} ") for h in (*SECTIONS,))
    above = shown[begin:syncs]
    assert above.count(" degraded ") == instance_cards.MOST_UNHEALTHY
    assert "and 3 more" in above
    assert shown[others:].count(" degraded ") == 3
    assert "3 of 12 active ones are healthy. Oldest check: " in shown[others:]


def test_services_share_one_row(admin_client: Client) -> None:
    well()
    for name in ("ann", "zoe"):
        connection_rows.connection(name=name)
    connection_rows.connection(service="llm_models", name="openrouter")
    run = ended_run("github", RunState.FAILED, seconds=3)
    ended_run("llm_models", seconds=7)
    page = part(admin_client)
    assert order(page).count("services") == 1
    assert 'id="sync-github"' in page  # where its problems lead
    row = page[page.index('id="sync-services"') :].partition("</tbody>")[0]
    assert f'title="run {run.pk} failed in 3.0 s' in row
    assert "min 3.0 s, max 7.0 s" in row
    assert "2 services" in row
    for service in ("github", "llm_models"):
        assert f'href="/admin/syncs/syncrun/?sync={service}"' in row


@pytest.mark.parametrize("fields", [{"options": {"dry_run": True}}, {"state": RunState.RUNNING}])
def test_dry_runs_and_those_under_way_have_no_bar(fields: dict[str, Any]) -> None:
    run = ended_run()
    ended_run(**fields)
    assert [bar.run for bar in run_history.last_runs(["user_routing"])["user_routing"].bars] == [
        run.pk
    ]


@pytest.mark.parametrize(
    ("seconds", "heights", "full", "is_cut"),
    [
        ([10, 5, 20], [0.5, 0.25, 1.0], 20, False),
        ([10, 10, 10, 900], [0.25, 0.25, 0.25, 1.0], 40, True),
        ([10, None, 0], [1.0, 0.12, 0.12], 10, False),
        ([None], [0.12], 0, False),
        ([], [], 0, False),
    ],
)
def test_a_bar_is_as_high_as_its_run_was_long(
    seconds: list[float | None], heights: list[float], full: float, is_cut: bool
) -> None:
    made = run_history.build_history(
        [(n, RunState.SUCCEEDED, None, s) for n, s in enumerate(seconds)]
    )
    assert [bar.height for bar in made.bars] == heights
    assert (made.full, made.is_cut) == (full, is_cut)


def test_every_run_state_has_a_bar_of_its_tone(admin_client: Client) -> None:
    instance_row(1)
    default_schedules()
    ended = [state for state in RunState if state not in (RunState.QUEUED, RunState.RUNNING)]
    for state in ended:
        ended_run(state=state)
    page = part(admin_client)
    assert {state: page.count(f"{state} in 10.0 s") for state in ended} == dict.fromkeys(ended, 1)


def test_a_run_under_way_tells_how_far_it_is(admin_client: Client) -> None:
    well()
    run = SyncRun.objects.create(
        sync="tenant_summaries",
        state=RunState.RUNNING,
        trigger=Trigger.BUTTON,
        started_at=timezone.now() - MINUTE,
    )
    for target, state in (("1", "succeeded"), ("2", "failed"), ("3", "waiting")):
        run_part(run, target, state=state)
    later = timezone.now() + MINUTE
    Lease.objects.create(sync=run.sync, token=1, run=run, expires_at=later)
    shown = text_of(admin_client.get(PAGE))
    assert f"Now: run {run.pk} running for 1 min: 2 of 3 instances" in shown
    Lease.objects.update(expires_at=timezone.now() - MINUTE)
    assert f"run {run.pk} running unresponsive, began 1 min ago" in text_of(admin_client.get(PAGE))


def test_a_run_that_waits_says_for_what(admin_client: Client) -> None:
    well()
    asked = {"sync": "user_routing", "state": RunState.QUEUED, "trigger": Trigger.BUTTON}
    run = SyncRun.objects.create(**asked)
    assert f"Now: run {run.pk} queued waits for a worker for" in text_of(admin_client.get(PAGE))
    SyncRun.objects.update(not_before=timezone.now() + 5 * MINUTE)
    assert f"run {run.pk} queued begins in 4 min" in text_of(admin_client.get(PAGE))


def test_a_paused_sync_says_until_when_and_why(admin_client: Client) -> None:
    well()
    until = timezone.now() + timedelta(days=2)
    SyncSchedule.objects.filter(sync="user_routing").update(
        paused_until=until, pause_reason="moving rds1"
    )
    shown = text_of(admin_client.get(PAGE))
    assert f"paused until {until:%Y-%m-%d %H:%M} UTC: moving rds1, then in 2 d" in shown
    assert "All is on time, but e-mail routes are paused until" in shown
    admin_client.cookies["rainbo_zone"] = "Asia/Tokyo"
    there = f"paused until {until + 9 * HOUR:%Y-%m-%d %H:%M} JST: moving rds1"
    assert text_of(admin_client.get(PAGE)).count(there) == 2  # in the sentence and in the row
    assert f"until {until + 9 * HOUR:%Y-%m-%d %H:%M} JST" in text_of(admin_client.get(SCHEDULES))


def test_the_button_says_what_it_touches_and_its_command(admin_client: Client) -> None:
    well()
    SyncSchedule.objects.filter(sync="tenant_summaries").update(
        options={"targets": ["1", "3"], "force": True}
    )
    shown = text_of(admin_client.get(PAGE))
    assert "Run now reads 3 instances python manage.py sync_instance_health" in shown
    assert "Run now reads 1 instance python manage.py sync_user_routing" in shown
    assert "Run now writes to 3 instances python manage.py sync_ghost_users" in shown
    assert (
        "Run now reads 2 instances python manage.py sync_tenant_summaries --rds 1 3 --force"
        in shown
    )


def test_the_button_leads_through_the_one_door(admin_client: Client) -> None:
    well()
    page = admin_client.get(PAGE).content.decode()
    buttons = re.findall(r'form="run-now" formaction="([^"]+)"', page)
    url = f"/admin/syncs/syncschedule/{kept().pk}/run/"
    assert url in buttons
    assert '<form id="run-now" method="post">' in page
    admin_client.post(url)
    run = SyncRun.objects.get(state=RunState.QUEUED)
    assert (run.sync, run.trigger, run.actor) == ("user_routing", Trigger.BUTTON, "admin")


def test_who_may_see_nothing_is_told_so(client: Client) -> None:
    well()
    shown = seen_by(client)
    assert "You don't have permission to view runs or instances" in shown
    assert "rds1" not in shown
    assert "All is on time" not in shown


def test_who_may_see_runs_sees_no_instance_and_no_button(client: Client) -> None:
    well()
    shown = seen_by(client, "view_syncrun")
    assert "E-mail routes on time" in shown
    assert "working last heartbeat" in shown
    assert "instance 1 (rds1)" not in shown
    assert "Run now" not in shown


def test_who_may_see_instances_sees_no_run(client: Client) -> None:
    well()
    shown = seen_by(client, "view_rdsinstance")
    assert "All 3 instances answer. Instances 3 of 3 active ones are healthy." in shown
    assert "E-mail routes" not in shown
    assert "last heartbeat" not in shown


def test_who_may_run_syncs_finds_the_buttons(client: Client) -> None:
    well()
    assert "Run now reads" in seen_by(client, "view_syncrun", "run_sync")


def test_who_is_no_staff_or_not_signed_in_is_led_to_the_sign_in(client: Client) -> None:
    for path in (PAGE, PART):
        assert client.get(path)["Location"] == f"/admin/login/?next={path}"
    client.force_login(User.objects.create_user("bob"))
    assert client.get(PART).status_code == 302


def test_the_part_is_the_page_without_its_frame(admin_client: Client) -> None:
    well()
    page = part(admin_client)
    assert page.startswith('<div id="now" data-live data-url="/admin/now/" data-every="5000" data-')
    assert "<html" not in page
    assert "csrfmiddlewaretoken" not in page  # it would differ each time
    assert "no-store" in admin_client.get(PART, headers=REFRESH)["Cache-Control"]


def test_the_part_leads_a_person_to_the_page(admin_client: Client) -> None:
    assert admin_client.get(f"{PART}?instance=rds1")["Location"] == f"{PAGE}?instance=rds1"


def test_the_page_loads_its_script_and_nothing_from_elsewhere(admin_client: Client) -> None:
    page = admin_client.get(PAGE).content.decode()
    assert '<script src="/static/rainbo/live.js" defer></script>' in page
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", page)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)


def test_an_empty_console_names_the_next_steps(admin_client: Client) -> None:
    shown = text_of(admin_client.get(PAGE))
    assert "not set up No instance is registered yet: there is nothing to read." in shown
    assert "Register the first one , or run python manage.py add_instance" in shown
    assert "No worker has ever reported" in shown
    assert "python manage.py schedule_work" in shown
    Schedule.objects.all().delete()
    shown = text_of(admin_client.get(PAGE))
    assert "It has no schedule. This creates what is missing: " in shown
    assert "python manage.py setup_schedules" in shown


def test_a_sync_that_never_ran_names_its_command(admin_client: Client) -> None:
    instance_row(1, is_master=True)
    default_schedules()
    shown = text_of(admin_client.get(PAGE))
    assert "It has never run. This runs it now: python manage.py sync_user_routing" in shown
    assert "never confirmed never run" in shown


def test_a_fleet_without_a_master_names_the_command_for_it(admin_client: Client) -> None:
    well()
    RdsInstance.objects.update(is_master=False)
    shown = text_of(admin_client.get(PAGE))
    assert "e-mail routes can't be read: no active instance takes part" in shown.replace("E-", "e-")
    assert "python manage.py add_instance --update --id N --master" in shown


def test_an_unresponsive_worker_is_the_status(admin_client: Client) -> None:
    well()
    at = timezone.now() - timedelta(days=2)
    Heartbeat.objects.update(at=at)
    WorkerEvent.objects.create(host="host x", message="the cluster stopped responding: restarted")
    shown = text_of(admin_client.get(PAGE))
    assert f"problem No heartbeat of a worker since {at:%Y-%m-%d %H:%M} UTC" in shown
    assert "problem last heartbeat: 2 d ago No worker has reported since" in shown
    assert "host x: the cluster stopped responding: restarted" in shown


def lost(number: int) -> None:
    RdsInstance.objects.filter(pk=number).update(health=Health.DOWN, last_error="refused")


def routes(number: int, count: int) -> None:
    known = {"email": "a@x", "email_key": "a@x", "remote_tenant_id": "1", "remote_user_id": "1"}
    UserRoute.objects.bulk_create(
        UserRoute(
            source_id=f"{number}-{n}",
            remote_instance_id=str(number),
            on_master=False,
            changed_at=timezone.now(),
            **known,
        )
        for n in range(count)
    )


def test_an_instance_that_is_down_tells_what_it_holds_up(admin_client: Client) -> None:
    well()
    lost(2)
    routes(2, 7)
    shown = text_of(admin_client.get(PAGE))
    assert "problem Instance 2 (rds2) has been down since" in shown
    assert "24 tenants and 7 routes wait for it." in shown
    assert shown.index("instance 2 (rds2) down") < shown.index(SECTIONS[1])
    page = text_of(admin_client.get("/admin/tenants/rdsinstance/2/change/"))
    assert "24 tenants and 7 routes wait for it." in page
    assert shown.index("instance 2 (rds2) down") < shown.index("instance 1 (rds1) healthy")


def test_routes_are_counted_up_to_a_bound(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    well()
    lost(2)
    routes(2, 7)
    monkeypatch.setattr(overview, "COUNTED", 5)
    assert "24 tenants and more than 5 routes wait for it." in text_of(admin_client.get(PAGE))


def test_of_many_that_are_down_the_routes_of_some_are_counted(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    well()
    lost(2)
    lost(3)
    routes(2, 7)
    monkeypatch.setattr(overview, "COUNTED_INSTANCES", 1)
    shown = text_of(admin_client.get(PAGE))
    assert "2 of 3 instances are down" in shown
    assert "48 tenants and more than 7 routes wait for them" in shown
    assert "24 tenants and their routes wait for it." in shown


def test_what_is_not_known_of_an_instance_is_said_to_be_unknown(admin_client: Client) -> None:
    instance_row(1)
    shown = text_of(admin_client.get(PAGE))
    assert "instance 1 (rds1) unknown latency unknown tenants unknown never checked" in shown


def test_an_inactive_instance_alarms_nobody(admin_client: Client) -> None:
    well()
    lost(2)
    RdsInstance.objects.filter(pk=2).update(is_active=False)
    shown = text_of(admin_client.get(PAGE))
    assert "All is on time" in shown
    assert "instance 2 (rds2) inactive not checked while inactive" in shown
    assert re.search(r"24 tenants last checked \d+ s ago", shown)
    RdsInstance.objects.filter(pk=2).update(last_check_at=None, latency_ms=None)
    shown = text_of(admin_client.get(PAGE))
    assert "inactive not checked while inactive" in shown
    assert "24 tenants never checked" in shown


def test_a_trend_shows_the_last_hour_with_its_gaps() -> None:
    well(1)
    checks = InstanceCheck.objects.order_by("-minute")
    InstanceCheck.objects.filter(pk=checks[0].pk).update(latency_ms=None, health=Health.DOWN)
    found = overview.trends([*RdsInstance.objects.all()])[1]
    assert len(found) == overview.CHECKS
    assert found[-1] is None
    trend = instance_cards.trend([2.0, None, 4.0, 4.0])
    assert trend is not None
    assert (len(trend.lines), len(trend.gaps)) == (2, 1)
    assert trend.text == (
        "Latency of the last 4 checks: 2.00 to 4.00 ms, median 4.00; 1 without an answer"
    )
    assert instance_cards.trend([]) is None


def test_a_fleet_of_24_needs_no_search(admin_client: Client) -> None:
    well(24)
    page = part(admin_client, "?instance=rds7")
    assert page.count('<li class="instance-card"') == 24
    assert 'name="instance"' not in page


def test_a_bigger_fleet_is_a_list_that_can_be_searched(admin_client: Client) -> None:
    well(60)
    lost(58)
    page = part(admin_client)
    assert page.count('<li class="instance-card"') == instance_cards.LISTED + 1
    assert page.index("instance 58 (rds58)</a>") < page.index("instance 1 (rds1)</a>")
    shown = text_of(admin_client.get(PAGE))
    assert "50 of 59 other instances, the worst first. 59 of 60 active ones are healthy." in shown
    assert "All 60 instances" in shown


@pytest.mark.parametrize(
    ("term", "found", "expected"),
    [
        ("RDS5", 11, "11 instances found by “RDS5”, the worst first."),
        (" 7 ", 6, "found by “7”"),
        ("nobody", 0, "None of 60 instances has “nobody” in its name, or as its id."),
        ("<b>", 0, "None of 60 instances has “<b>”"),
    ],
)
def test_the_search_finds_by_name_and_id(
    admin_client: Client, term: str, found: int, expected: str
) -> None:
    well(60)
    response = admin_client.get(PAGE, {"instance": term})
    assert response.content.decode().count('<li class="instance-card"') == found
    assert expected in text_of(response)


def test_the_number_of_queries_does_not_depend_on_the_fleet(admin_client: Client) -> None:
    well(3)
    lost(2)
    with CaptureQueriesContext(connection) as few:
        admin_client.get(PAGE)
    fleets.write(200, 100_000, minutes=120, first=4)
    with CaptureQueriesContext(connection) as many:
        admin_client.get(PAGE)
    # One more where the last run of a sync was without some of its targets.
    assert len(many) <= len(few) <= QUERIES + 1
    plan = "\n".join(_plan(run_history.LAST_RUNS, {"syncs": [*fleets.SYNCS], "limit": 30}))
    assert "runs_of_a_sync" in plan
    assert "Seq Scan on syncs_syncrun" not in plan


def test_the_part_takes_fewer_queries_than_the_page(admin_client: Client) -> None:
    well()
    with CaptureQueriesContext(connection) as page:
        admin_client.get(PAGE)
    with CaptureQueriesContext(connection) as fragment:
        part(admin_client)
    assert len(fragment) <= len(page)


def _plan(statement: str, parameters: dict[str, Any]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}", parameters)
        return [line for (line,) in cursor.fetchall()]
