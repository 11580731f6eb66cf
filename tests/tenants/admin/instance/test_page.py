"""An instance's page: what it shows, and what disabling and enabling it does."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from activity.models import Activity
from syncs.models import RunState, SyncRun, TargetState
from tenants.admin.instance import activation, health_chart
from tenants.admin.instance.page import skew_in_words
from tenants.health import history, last_checks
from tenants.health.checks import Checked
from tenants.health.history import Outage
from tenants.health.problems import INSTANCES
from tenants.models import GhostUser, InstanceCheck, InstanceExamination, RdsInstance, Tenant
from tenants.models.ghost import GhostState
from tenants.models.instance import Health
from tests.caches import query
from tests.instances import InstanceFleet
from tests.pages import said, text_of
from tests.rows import confirmation, ended_run, instance_row, run_part, staff

LIST = "/admin/tenants/rdsinstance/"
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
QUERIES = 30

pytestmark = pytest.mark.django_db


def page(number: int = 2, way: str = "change") -> str:
    return f"{LIST}{number}/{way}/"


def check(
    instance: RdsInstance, at: datetime, health: Health = Health.HEALTHY, **more: Any
) -> None:
    InstanceCheck.objects.create(instance=instance, minute=at, health=health, **more)


def tenant(instance: RdsInstance, key: str, **fields: Any) -> None:
    known = {"status": "active", "cache_refreshed_at": timezone.now(), "name": f"t{key}"}
    Tenant.objects.create(instance=instance, remote_id=key, **known | fields)


def routes(instance: int, count: int) -> None:
    query(
        "INSERT INTO user_routes (source_id, email, email_key, remote_instance_id, on_master, "
        "remote_tenant_id, remote_user_id, changed_at) SELECT n::text, n || '@x.de', "
        "n || '@x.de', %s, false, '1', n::text, now() FROM generate_series(1, %s) AS n",
        str(instance),
        count,
    )


@pytest.fixture
def instance() -> RdsInstance:
    return instance_row(2)


def day_of(instance: RdsInstance) -> str:
    return health_chart.summary(history.last_day(instance, NOON), NOON)


def test_a_day_without_checks_is_unknown(instance: RdsInstance) -> None:
    assert day_of(instance) == "24 h: no check, so nothing is known of its health."


def test_a_day_is_summed_up_with_its_outages(instance: RdsInstance) -> None:
    for minute in range(1430):
        at = NOON - timedelta(minutes=minute)
        down = at.hour == 2 and 10 <= at.minute < 16
        check(instance, at, Health.DOWN if down else Health.HEALTHY)
    assert day_of(instance) == "24 h: 1,430 checks, 99.5 % healthy, down 02:10–02:16 UTC"


def test_an_outage_that_lasts_has_no_end(instance: RdsInstance) -> None:
    check(instance, NOON - timedelta(minutes=3))
    check(instance, NOON - timedelta(minutes=2), Health.DOWN)
    check(instance, NOON - timedelta(minutes=1), Health.DOWN)
    assert "33.3 % healthy, down since 11:58 UTC" in day_of(instance)


def test_the_first_page_and_this_one_agree_since_when_it_is_down(instance: RdsInstance) -> None:
    now = timezone.now()
    begin = now.replace(second=0, microsecond=0) - timedelta(hours=26)
    RdsInstance.objects.filter(pk=instance.pk).update(health=Health.DOWN)
    confirmation("instance_health", str(instance.pk), now=begin, ago=timedelta(seconds=20))
    check(instance, begin - timedelta(minutes=1))
    for minute in range(0, 26 * 60, 60):
        check(instance, begin + timedelta(minutes=minute), Health.DOWN)
    assert [down.since for down in INSTANCES.read_alone(now).fleet.down] == [begin]
    assert history.last_day(instance, now).outages[0] == Outage(begin, None)


def test_one_that_is_down_for_long_is_so_since_its_last_answer(instance: RdsInstance) -> None:
    at = confirmation("instance_health", str(instance.pk), ago=timedelta(days=9)).at
    check(instance, timezone.now() - timedelta(days=6, hours=23), Health.DOWN)
    assert (history.down_since(instance.pk), history.down_since(99)) == (at, None)


def test_many_outages_are_counted(instance: RdsInstance) -> None:
    for minute in range(10):
        check(instance, NOON - timedelta(minutes=minute), [Health.DOWN, Health.HEALTHY][minute % 2])
    assert "and 2 times before" in day_of(instance)


def test_quarter_hours_without_a_check_are_said(instance: RdsInstance) -> None:
    check(instance, NOON)
    assert "no check in 96 of 97 quarter-hours" in day_of(instance)


def test_other_instances_and_older_checks_are_left_out(instance: RdsInstance) -> None:
    check(instance_row(3), NOON, Health.DOWN)
    check(instance, NOON - timedelta(hours=25), Health.DOWN)
    check(instance, NOON)
    assert day_of(instance).startswith("24 h: 1 check, 100 % healthy")


def test_a_bar_shows_its_worst_check(instance: RdsInstance) -> None:
    check(instance, NOON - timedelta(minutes=1))
    check(instance, NOON - timedelta(minutes=2), Health.DEGRADED)
    chart = health_chart.of(history.last_day(instance, NOON), NOON)
    assert chart.columns[-2].title == "11:45–12:00: degraded, 2 checks"
    assert chart.columns[0].title.endswith("no check")


def test_latency_is_a_median_and_a_percentile(instance: RdsInstance) -> None:
    for minute in range(100):
        check(instance, NOON - timedelta(minutes=minute), latency_ms=10 + minute)
    chart = health_chart.of(history.last_day(instance, NOON), NOON)
    assert "median 60 ms, 95 % of checks within 104 ms" in chart.latency


def test_the_line_breaks_where_nothing_is_known(instance: RdsInstance) -> None:
    for hours in (0, 1, 2):
        known = None if hours == 1 else 5.0
        check(instance, NOON - timedelta(hours=hours), latency_ms=known)
    assert len(health_chart.of(history.last_day(instance, NOON), NOON).lines) == 2


@pytest.mark.parametrize(
    ("skew", "expected"),
    [(None, ""), (0.0, "0 ms behind ours"), (1500.0, "1,500 ms ahead of ours")],
)
def test_a_clock_is_said_with_its_side(skew: float | None, expected: str) -> None:
    assert skew_in_words(skew) == expected


def test_what_no_check_has_seen_is_unknown(admin_client: Client, instance: RdsInstance) -> None:
    shown = text_of(admin_client.get(page()))
    for expected in ("clock unknown", "connections in use unknown", "latency unknown"):
        assert expected in shown
    assert "Role, privileges, TLS and queries have never been tested" in shown
    assert "No tenants have been read yet" in shown


def test_the_page_is_headed_by_the_instance(admin_client: Client, instance: RdsInstance) -> None:
    assert ">Instance 2 (rds2)</h2>" in admin_client.get(page()).content.decode()


def test_the_last_check_is_shown(admin_client: Client, instance: RdsInstance) -> None:
    seen: dict[str, Any] = {
        "latency_ms": 3.25,
        "skew_ms": -70.0,
        "connections": 12,
        "max_connections": 100,
    }
    check(instance, timezone.now(), **seen)
    check(instance, timezone.now() - timedelta(minutes=5), latency_ms=9.0, skew_ms=9.0)
    shown = text_of(admin_client.get(page()))
    for expected in ("3.25 ms", "70 ms behind ours", "12 of 100"):
        assert expected in shown


def test_every_syncs_last_result_is_shown(admin_client: Client, instance: RdsInstance) -> None:
    old = ended_run("tenant_summaries")
    run_part(old, "2", read=1)
    last = ended_run("tenant_summaries", RunState.PARTIAL)
    run_part(last, "2", state=TargetState.FAILED, error="permission denied")
    confirmation("tenant_summaries", "2", ago=timedelta(minutes=7))
    answer = admin_client.get(page())
    lines = {line.title: line for line in answer.context["page"]["sync_lines"]}
    assert list(lines) == ["Health checks", "Tenant summaries", "Ghost users"]
    shown = lines["Tenant summaries"]
    assert f"/admin/syncs/syncrun/{last.pk}/change/" in shown.run
    assert "7 min ago" in shown.confirmed
    assert "permission denied" in shown.message


def test_an_old_result_is_not_called_the_last(admin_client: Client, instance: RdsInstance) -> None:
    run_part(ended_run("ghost_users"), "2", error="long ago")
    for _ in range(50):
        ended_run("ghost_users")
    assert "long ago" not in text_of(admin_client.get(page()))


def test_a_dry_run_is_not_the_last(admin_client: Client, instance: RdsInstance) -> None:
    run_part(ended_run("ghost_users"), "2", note="in earnest")
    run_part(ended_run("ghost_users", options={"dry_run": True}), "2", note="only tried")
    shown = text_of(admin_client.get(page()))
    assert "in earnest" in shown
    assert "only tried" not in shown


def test_tenants_are_counted_by_status(admin_client: Client, instance: RdsInstance) -> None:
    for number in range(3):
        tenant(instance, str(number))
    tenant(instance, "9", status="trial", vanished_at=timezone.now())
    shown = text_of(admin_client.get(page()))
    assert "active 3 all 3 vanished 1" in shown


def test_ghost_coverage_is_counted(admin_client: Client, instance: RdsInstance) -> None:
    ann = staff("ann", is_superuser=True)
    known = {"instance": instance, "wanted": GhostState.ACTIVE, "confirmed": GhostState.ACTIVE}
    GhostUser.objects.create(admin_id=ann.pk, **known)
    GhostUser.objects.create(admin_id=990, **known)
    shown = text_of(admin_client.get(page()))
    assert "1 of the 2 admins who should enter can" in shown
    assert "orphan 1" in shown


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by", ["command", "console"])
def test_what_was_found_last_is_kept(
    admin_client: Client, registered: InstanceFleet, by: str
) -> None:
    registered[2].execute("REVOKE SELECT ON locations FROM rainbo")
    if by == "console":
        admin_client.post(page(2, "test-connection"))
    else:
        with pytest.raises(SystemExit):
            call_command("check_fleet", "--rds", "2", "--json")
    shown = text_of(admin_client.get(page()))
    assert "1 error, 1 warning" in shown
    assert "GRANT SELECT (tenant_id) ON public.locations TO rainbo;" in shown
    assert "reached, not encrypted" in shown
    assert InstanceExamination.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_instance_deleted_during_its_test_leaves_nothing(
    registered: InstanceFleet,
) -> None:
    row = RdsInstance.objects.get(pk=2)
    RdsInstance.objects.filter(pk=2).delete()
    last_checks.remember([Checked(row, ())])
    assert not InstanceExamination.objects.exists()


def test_a_check_is_recorded(admin_client: Client, instance: RdsInstance) -> None:
    admin_client.post(page(2, "check-now"))
    entry = Activity.objects.get(action="run.requested")
    assert entry.subject_id == str(SyncRun.objects.get().pk)


@pytest.mark.django_db(transaction=True)
def test_a_test_is_recorded(admin_client: Client, registered: InstanceFleet) -> None:
    admin_client.post(page(2, "test-connection"))
    entry = Activity.objects.get(action="instance.tested")
    assert "not encrypted" in (entry.after or {})["found"]


def test_a_viewer_sees_the_page_and_no_button(
    client: Client, instance: RdsInstance, person: Callable[..., User]
) -> None:
    person("view_rdsinstance")
    shown = text_of(client.get(page()))
    assert "The last 24 hours" in shown
    for button in ("Test connection", "Check now", "Disable", "Ghost users on this"):
        assert button not in shown


def test_disabling_says_what_it_does_before_it_does_it(
    admin_client: Client, instance: RdsInstance
) -> None:
    for number in range(14):
        tenant(instance, str(number))
    routes(2, 3120)
    for admin in range(5):
        ghost = {"wanted": GhostState.ACTIVE, "confirmed": GhostState.ACTIVE}
        GhostUser.objects.create(instance=instance, admin_id=900 + admin, **ghost)
    shown = text_of(admin_client.get(page(2, "disable")))
    for expected in (
        "14 tenants and 3,120 routes stay in the cache",
        "Syncs skip it",
        "5 ghost users there can still enter",
        "add_instance --update --id 2 --inactive --no-check",
    ):
        assert expected in shown
    instance.refresh_from_db()
    assert instance.is_active


@pytest.mark.parametrize("active", [True, False])
def test_the_switch_is_recorded(admin_client: Client, active: bool) -> None:
    row = instance_row(2, is_active=not active)
    way, verb = ("enable", "enabled") if active else ("disable", "disabled")
    answer = admin_client.post(page(2, way), follow=True)
    assert f"instance 2 (rds2) is {verb}" in said(answer)
    row.refresh_from_db()
    assert row.is_active == active
    entry = Activity.objects.get(action=f"instance.{verb}")
    assert (entry.before, entry.after) == ({"is_active": not active}, {"is_active": active})


def test_the_line_shown_does_the_same(instance: RdsInstance) -> None:
    line = activation.command(instance, active=False)
    call_command(*line.split("manage.py ")[1].split())
    instance.refresh_from_db()
    assert not instance.is_active


def test_the_master_stays_in_use(admin_client: Client) -> None:
    row = instance_row(2, is_master=True)
    routes(2, 3)
    shown = text_of(admin_client.get(page(2, "disable")))
    assert "no route of the whole fleet would be refreshed" in shown
    assert "3 routes lead to it alone" in shown
    answer = admin_client.post(page(2, "disable"), follow=True)
    assert "is the master" in said(answer)
    row.refresh_from_db()
    assert row.is_active
    assert not Activity.objects.filter(action="instance.disabled").exists()


def test_what_became_the_master_meanwhile_stays_in_use(instance: RdsInstance) -> None:
    RdsInstance.objects.filter(pk=2).update(is_master=True)
    assert not activation.switch(instance, active=False)


def test_who_was_second_is_told(admin_client: Client) -> None:
    instance_row(2, is_active=False)
    assert "inactive already" in said(admin_client.post(page(2, "disable"), follow=True))


@pytest.mark.parametrize("way", ["enable", "disable"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_switching_takes_its_permission(
    client: Client, instance: RdsInstance, person: Callable[..., User], way: str, method: str
) -> None:
    person("view_rdsinstance", "check_instance", "run_sync")
    assert getattr(client, method)(page(2, way)).status_code == 403
    instance.refresh_from_db()
    assert instance.is_active


def test_the_form_leaves_the_use_alone(admin_client: Client, instance: RdsInstance) -> None:
    form = page(way="settings")
    assert 'name="is_active"' not in admin_client.get(form).content.decode()
    endpoint = {"host": "rds.example.com", "port": 5432, "database": "app", "user": "rainbo"}
    security = {"ssl_mode": "verify-full", "require_auth": "scram-sha-256", "ssl_ca": ""}
    given = {"name": "rds2", "new_password": "", "app_url": "", "notes": "new"}
    kept = {"has_tenants": "on", "has_ghosts": "on"}
    admin_client.post(form, given | endpoint | security | kept)
    instance.refresh_from_db()
    assert (instance.notes, instance.is_active) == ("new", True)
    entry = Activity.objects.get(action="instance.changed")
    assert (entry.before, entry.after) == ({"notes": ""}, {"notes": "new"})


def test_many_routes_are_not_counted_to_the_end(
    instance: RdsInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "MOST_ROUTES", 10)
    routes(2, 12)
    assert activation.holdings(instance).routes_in_words == "more than 10"


def fleet_of(count: int, checks: int = 0) -> None:
    for number in range(1, count + 1):
        instance_row(number)
    query(
        "INSERT INTO instance_checks (instance_id, minute, health, server_version, error) "
        "SELECT i.id, date_trunc('minute', now()) - n * interval '1 minute', 'healthy', '', '' "
        "FROM rds_instances AS i, generate_series(1, %s) AS n",
        checks,
    )


@pytest.mark.parametrize("count", [1, 200])
def test_the_page_takes_a_bounded_number_of_queries(
    admin_client: Client, count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    fleet_of(count, checks=250)
    with django_assert_max_num_queries(QUERIES):
        answer = admin_client.get(page(1))
    assert "250 checks" in text_of(answer)


@pytest.mark.parametrize("count", [1, 200])
def test_the_list_takes_a_bounded_number_of_queries(
    admin_client: Client, count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    fleet_of(count, checks=250)
    with django_assert_max_num_queries(20):
        text_of(admin_client.get(LIST))


def test_the_day_is_read_from_the_index(instance: RdsInstance) -> None:
    fleet_of(0)
    for number in range(3, 13):
        instance_row(number)
    query("TRUNCATE instance_checks")  # what earlier tests left in its files changes its costs
    fleet_checks = "SELECT i.id, n FROM rds_instances AS i, generate_series(1, 5000) AS n"
    query(
        "INSERT INTO instance_checks (instance_id, minute, health, server_version, error) "
        f"SELECT id, now() - n * interval '1 minute', 'healthy', '', '' FROM ({fleet_checks}) AS c "
        "ORDER BY n DESC, id"  # as they come in
    )
    query("ANALYZE instance_checks")
    plan = query(
        "EXPLAIN SELECT count(*) FROM instance_checks WHERE instance_id = 2 "
        "AND minute >= now() - interval '1 day' AND minute < now()"
    )
    assert "one_check_a_minute" in str(plan)


def test_who_waits_for_one_that_is_down_is_one_step_away(
    admin_client: Client, instance: RdsInstance
) -> None:
    RdsInstance.objects.update(health=Health.DOWN, last_check_at=timezone.now())
    tenant(instance, "1", name="Acme")
    confirmation("tenant_summaries", "2", rows=1)
    shown = admin_client.get(page()).content.decode()
    found = re.search(r'1 tenant\b.* for it.*?href="([^"]+)">Who they are<', shown, re.IGNORECASE)
    assert found
    assert "Acme" in text_of(admin_client.get(unescape(found[1])))
