"""A tenant's page: what it shows of the cache, its users, its days and its history."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from activity.models import Activity
from common import markup
from common.markup import Tone
from syncs.models import RunState, SyncRun, TargetState
from tenants.admin.tenant import comparison, count_chart
from tenants.models import (
    GhostUser,
    RdsInstance,
    Tenant,
    TenantChange,
    TenantDailyCount,
    UserRoute,
)
from tenants.routes import of_tenant
from tenants.summaries import history
from tenants.summaries.live_tenant import LiveTenant
from tenants.summaries.merge import COLUMNS
from tests.pages import said, text_of
from tests.rows import confirmation, ended_run, instance_row, run_part, staff

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
KINDS = TenantChange.Kind

pytestmark = pytest.mark.django_db


def page(tenant: Tenant, way: str = "change") -> str:
    return f"/admin/tenants/tenant/{tenant.pk}/{way}/"


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(
        instance=instance_row(2, app_url="https://app.example.com/"),
        remote_id="17",
        name="Acme",
        status="active",
        user_count=1234,
        contact_email="bob+a@example.com",
        cache_refreshed_at=timezone.now(),
    )


def sign_in(client: Client, *codenames: str) -> User:
    user = staff()
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return user


def route(number: int, mail: str = "", **fields: Any) -> UserRoute:
    key = mail or f"user{number:03}@example.com"
    at = {"remote_instance_id": "2", "remote_tenant_id": "17", "on_master": False}
    known = {"remote_user_id": str(number), "changed_at": timezone.now()} | at | fields
    return UserRoute.objects.create(source_id=str(number), email=key, email_key=key, **known)


def day(tenant: Tenant, ago: int, users: int | None, locations: int | None = 1) -> None:
    on = (NOON - timedelta(days=ago)).date()
    TenantDailyCount.objects.create(
        tenant=tenant, day=on, user_count=users, location_count=locations
    )


def change(tenant: Tenant, kind: str, run: int, **fields: Any) -> None:
    TenantChange.objects.create(tenant=tenant, kind=kind, run_id=run, at=timezone.now(), **fields)


def test_what_is_known_is_shown_and_what_is_not_is_said(
    admin_client: Client, tenant: Tenant
) -> None:
    shown = text_of(admin_client.get(page(tenant)))
    for expected in ("Tenant 17 on instance 2 (rds2)", "active users 1,234", "locations unknown"):
        assert expected in shown
    assert "trial ends no trial" in shown
    assert "unknown refreshed" in shown
    assert "never confirmed" in shown
    assert "No counts yet" in shown


def test_freshness_has_its_reason_and_the_runs_that_touched_it(
    admin_client: Client, tenant: Tenant
) -> None:
    good = ended_run("tenant_summaries", ago=timedelta(hours=3))
    confirmation("tenant_summaries", "2", ago=timedelta(hours=3), run=good, rows=251)
    bad = ended_run("tenant_summaries", state=RunState.FAILED)
    error = {"error": "rds2 is asleep", "error_kind": "connection"}
    run_part(bad, "2", state=TargetState.FAILED, **error)
    RdsInstance.objects.filter(pk=2).update(health="down")
    answer = admin_client.get(page(tenant))
    shown = text_of(answer)
    assert "stale" in shown
    assert "instance down: rds2 is asleep" in shown
    assert f"failed run {bad.pk}" in shown
    assert "251 at the last confirmation" in shown
    assert "python manage.py sync_tenant_summaries --rds 2 --force" in shown
    assert f"/admin/syncs/syncrun/{bad.pk}/change/" in answer.content.decode()


def test_why_it_is_held_is_said_once(admin_client: Client, tenant: Tenant) -> None:
    run = ended_run("tenant_summaries", state=RunState.HELD)
    run_part(run, "2", state=TargetState.HELD, note="25 of 100 would go")
    assert text_of(admin_client.get(page(tenant))).count("25 of 100 would go") == 1


def test_an_instance_out_of_use_is_said(admin_client: Client, tenant: Tenant) -> None:
    RdsInstance.objects.update(is_active=False)
    answer = admin_client.get(page(tenant))
    assert "not synced" in text_of(answer)
    assert "instance 2 (rds2) is disabled" in text_of(answer)
    assert "Sync instance now" not in text_of(answer)


def test_its_users_come_page_by_page(tenant: Tenant) -> None:
    for number in range(1, 8):
        route(number)
    route(8, "user003@example.com")  # the same key, another account
    route(9, remote_tenant_id="18")
    pages, seen = [of_tenant.page(tenant, size=3)], []
    while pages[-1].after:
        pages.append(of_tenant.page(tenant, after=pages[-1].after, size=3))
    seen = [[row.pk for row in one.rows] for one in pages]
    assert seen == [["1", "2", "3"], ["8", "4", "5"], ["6", "7"]]
    back = of_tenant.page(tenant, before=pages[-1].before, size=3)
    assert [row.pk for row in back.rows] == ["8", "4", "5"]
    first = of_tenant.page(tenant, before=back.before, size=3)
    assert ([row.pk for row in first.rows], first.before) == (["1", "2", "3"], "")
    assert pages[0].count == 8


def test_the_pages_of_users_are_linked(admin_client: Client, tenant: Tenant) -> None:
    for number in range(30):
        route(number, withheld_reason="twice" if number == 29 else None)
    first = admin_client.get(page(tenant))
    assert "30 routes of the master's directory lead here" in text_of(first)
    assert "user029" not in text_of(first)
    assert f'{page(tenant)}?after=24#tenant-users"' in first.content.decode()
    second = text_of(admin_client.get(page(tenant), {"after": "24"}))
    assert "user029@example.com" in second
    assert "withheld twice" in second
    assert "user001" not in second


@pytest.mark.parametrize("place", ["gone", "9\0", "9" * 3000])
def test_a_place_that_is_gone_leads_to_the_beginning(
    admin_client: Client, tenant: Tenant, place: str
) -> None:
    route(1)
    shown = text_of(admin_client.get(page(tenant), {"after": place}))
    assert "this is the first page" in shown
    assert "user001@example.com" in shown


def test_days_without_a_count_are_gaps(tenant: Tenant) -> None:
    for ago, users in {9: 5, 8: 6, 7: None, 3: 8, 1: 7, 200: 1}.items():
        day(tenant, ago, users)
    days = history.daily_counts(tenant, NOON)
    assert [one.users for one in days] == [5, 6, None, None, None, None, 8, None, 7, None]
    drawn = count_chart.charts(days)[0]
    assert len(drawn.lines) == 3
    assert drawn.text == (
        "Users: 7 on 2026-05-03, 5 on 2026-04-25; lowest 5, highest 8; no count on 6 of 10 days."
    )


def test_counts_that_were_never_known_draw_nothing(tenant: Tenant) -> None:
    day(tenant, 0, 3, None)
    drawn = count_chart.charts(history.daily_counts(tenant, NOON))
    expected = ["Users: 3 on 2026-05-04.", "Locations: no count on 1 of 1 day."]
    assert [(chart.text, chart.lines) for chart in drawn] == [(said, ()) for said in expected]


def test_the_numbers_are_within_reach(admin_client: Client, tenant: Tenant) -> None:
    today = timezone.now().astimezone(UTC).date()
    TenantDailyCount.objects.create(tenant=tenant, day=today, user_count=12)
    shown = text_of(admin_client.get(page(tenant)))
    assert "Numbers for 1 day" in shown
    assert f"{today} 12 unknown" in shown


def test_its_history_survives_pruned_runs(admin_client: Client, tenant: Tenant) -> None:
    pruned = ended_run("tenant_summaries").pk
    SyncRun.objects.filter(pk=pruned).delete()
    run = ended_run("tenant_summaries")
    change(tenant, KINDS.NAME, pruned, before="Old", after="Acme")
    change(tenant, KINDS.VANISHED, pruned)
    change(tenant, KINDS.BACK, run.pk)
    change(tenant, KINDS.STATUS, run.pk, before="trial", after="active")
    answer = admin_client.get(page(tenant))
    shown = text_of(answer).partition("History when what")[2]
    places = [
        shown.index(expected)
        for expected in (
            f"trial → active run {run.pk}",
            f"its instance has it again run {run.pk}",
            f"its instance no longer had it run {pruned} (pruned)",
            f"Old → Acme run {pruned} (pruned)",
        )
    ]
    assert places == sorted(places)
    assert answer.content.decode().count(f"/syncrun/{run.pk}/change/") == 2
    assert "/syncrun/1/change/" not in answer.content.decode()


def test_a_long_history_is_cut(tenant: Tenant) -> None:
    for number in range(history.CHANGES + 1):
        change(tenant, KINDS.NAME, number)
    found, more = history.changes(tenant)
    assert (len(found), more) == (history.CHANGES, True)


def test_its_instance_alone_is_synced(client: Client, tenant: Tenant) -> None:
    sign_in(client, "view_tenant", "run_sync", "view_syncrun")
    answer = client.post(page(tenant, "sync"), follow=True)
    run = SyncRun.objects.get()
    assert (run.sync, run.options) == ("tenant_summaries", {"targets": ["2"], "force": True})
    assert (run.trigger, run.actor) == ("button", "ann")
    assert f"Run {run.pk} was requested" in said(answer)
    assert answer.redirect_chain[-1][0] == f"/admin/syncs/syncrun/{run.pk}/change/"
    assert Activity.objects.get(action="run.requested").subject_id == str(run.pk)


def test_an_instance_out_of_use_is_not_synced(admin_client: Client, tenant: Tenant) -> None:
    RdsInstance.objects.update(is_active=False)
    assert "is disabled" in said(admin_client.post(page(tenant, "sync"), follow=True))
    assert not SyncRun.objects.exists()


def test_who_may_only_look_finds_nothing_to_press(client: Client, tenant: Tenant) -> None:
    sign_in(client, "view_tenant")
    route(1)
    answer = client.get(page(tenant))
    assert f'action="{page(tenant)[:-7]}' not in answer.content.decode()
    for hidden in ("user001", "Users", "Support access", "Activity"):
        assert hidden not in text_of(answer)


@pytest.mark.parametrize(
    ("way", "codename"), [("live", "check_instance"), ("sync", "run_sync"), ("change", "")]
)
def test_a_permission_to_act_is_none_to_look(
    client: Client, tenant: Tenant, way: str, codename: str
) -> None:
    sign_in(client, codename)
    answer = client.post(page(tenant, way)) if codename else client.get(page(tenant))
    assert answer.status_code == 403
    assert not SyncRun.objects.exists()


def test_the_door_says_whether_ones_ghost_is_there(client: Client, tenant: Tenant) -> None:
    user = sign_in(client, "view_tenant", "impersonate")
    shown = text_of(client.get(page(tenant)))
    assert "wanted should enter; no sync has tried yet; last seen never seen" in shown
    assert f"rainbo-admin-{user.pk}@system.internal" in shown
    GhostUser.objects.create(
        admin_id=user.pk, instance=tenant.instance, wanted="active", confirmed="active"
    )
    answer = client.get(page(tenant))
    assert "confirmed may enter, and the instance confirmed it" in text_of(answer)


SAFELY = 'target="_blank" rel="noopener noreferrer"'


def test_it_leads_into_the_application(admin_client: Client, tenant: Tenant) -> None:
    def html() -> str:
        return admin_client.get(page(tenant)).content.decode()

    assert f'href="https://app.example.com/" {SAFELY}' in html()
    RdsInstance.objects.update(tenant_url="https://{tenant}.example.com/")
    Tenant.objects.update(remote_id='a/b"><i>')
    assert f'href="https://a%2Fb%22%3E%3Ci%3E.example.com/" {SAFELY}' in html()
    RdsInstance.objects.update(tenant_url="javascript:alert('{tenant}')")
    assert "javascript:" not in html()
    RdsInstance.objects.update(tenant_url="", app_url="")
    assert "<dt>application</dt>" not in html()


def test_its_contact_is_shown_with_the_account_here(admin_client: Client, tenant: Tenant) -> None:
    assert "e-mail bob+a@example.com account here none with this e-mail" in text_of(
        admin_client.get(page(tenant))
    )
    Tenant.objects.update(contact_name="Bob", contact_email="Bob+A@example.com")
    route(7, "bob+a@example.com")
    answer = admin_client.get(page(tenant))
    assert "name Bob e-mail Bob+A@example.com account here user 7" in text_of(answer)
    assert 'href="mailto:Bob%2BA@example.com"' in answer.content.decode()
    Tenant.objects.update(contact_name=None, contact_email=None)
    assert "Its instance names no contact." in text_of(admin_client.get(page(tenant)))


def test_an_account_is_named_to_those_alone_who_see_routes(client: Client, tenant: Tenant) -> None:
    route(7, "bob+a@example.com")
    sign_in(client, "view_tenant")
    shown = text_of(client.get(page(tenant)))
    assert "e-mail bob+a@example.com" in shown
    assert "account here" not in shown
    assert "routes added or changed" not in shown


def test_what_changed_this_week_is_said_at_once(admin_client: Client, tenant: Tenant) -> None:
    now = timezone.now()
    for ago, users in ((9, 1200), (0, 1234)):
        TenantDailyCount.objects.create(
            tenant=tenant, day=(now - timedelta(days=ago)).date(), user_count=users
        )
    change(tenant, KINDS.STATUS, 1, before="trial", after="active")
    change(tenant, KINDS.NAME, 1, before="Old", after="Acme")
    for kind, days in ((KINDS.STATUS, 2), (KINDS.NAME, 8)):
        TenantChange.objects.filter(kind=kind).update(at=now - timedelta(days=days))
    route(1)
    route(2, changed_at=now - timedelta(days=8))
    week = admin_client.get(page(tenant)).context["week"]
    assert [re.sub("<[^>]*>", "", line) for line in week] == [
        "Status: trial → active, 2 d ago",
        f"Active users: 1,200 → 1,234 (+34) since {(now - timedelta(days=9)).date()}",
        "1 route added or changed",
    ]


def test_a_week_without_counts_is_unknown(admin_client: Client, tenant: Tenant) -> None:
    assert "Its counts of a week ago are unknown" in text_of(admin_client.get(page(tenant)))


@pytest.mark.parametrize("name", [n for n in COLUMNS if n not in comparison.MISSING])
def test_a_field_that_neither_side_knows_is_unknown_and_not_the_same(
    tenant: Tenant, name: str
) -> None:
    """And one where no value means something is the same."""
    now = timezone.now()
    setattr(tenant, name, None)
    row = {column: getattr(tenant, column) for column in COLUMNS}
    live = LiveTenant(at=now, seconds=0.1, row=row)
    found = {field.label: field.result for field in comparison.fields(tenant, live, now)}
    assert found.pop(comparison.LABELS[name]) == markup.quiet("unknown")
    assert found["trial ends"] == markup.badge("same", Tone.GOOD)


def test_it_leads_to_its_instance_routes_and_contact(admin_client: Client, tenant: Tenant) -> None:
    route(1)
    html = admin_client.get(page(tenant)).content.decode()
    assert "/admin/tenants/rdsinstance/2/change/" in html
    assert "/admin/tenants/userroute/?instance=2&amp;tenant=17" in html
    assert "/admin/find/?q=bob%2Ba%40example.com" in html


def test_a_page_takes_a_bounded_number_of_queries(
    admin_client: Client, tenant: Tenant, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        route(number)
        change(tenant, KINDS.NAME, number)
        day(tenant, number, number)
    with django_assert_max_num_queries(31):
        admin_client.get(page(tenant), {"after": "5"})


def test_a_tenant_that_is_not_there_leads_back(admin_client: Client) -> None:
    answer = admin_client.get("/admin/tenants/tenant/4711/change/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
