"""The console's pages of tenants."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from activity.models import Activity
from syncs.models import Confirmation
from tenants.admin.tenant import tenant_list
from tenants.admin.tenant.badges import STATUS_TONES
from tenants.admin.tenants import TenantAdmin
from tenants.models import RdsInstance, Tenant
from tenants.models.tenant import TenantStatus
from tenants.summaries import search
from tests.caches import query
from tests.pages import text_of
from tests.rows import confirmation, instance_row, staff

LIST = "/admin/tenants/tenant/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def instance() -> RdsInstance:
    return instance_row(2)


def tenant(instance: RdsInstance, remote_id: str = "17", **fields: Any) -> Tenant:
    known = {"name": f"Acme {remote_id}", "status": "active", "cache_refreshed_at": timezone.now()}
    return Tenant.objects.create(instance=instance, remote_id=remote_id, **known | fields)


def test_every_status_has_a_tone() -> None:
    assert set(STATUS_TONES) == set(TenantStatus.values)


def test_the_list_shows_counts_and_ages(admin_client: Client, instance: RdsInstance) -> None:
    soon = timezone.now() + timedelta(days=3, minutes=1)
    tenant(instance, user_count=1234, location_count=0, trial_ends_at=soon)
    confirmation("tenant_summaries", "2")
    shown = text_of(admin_client.get(LIST))
    for expected in ("Acme 17", "2 rds2", "1,234", "on time confirmed 5 min ago", "in 3 d"):
        assert expected in shown


def test_ages_that_read_the_same_are_said_once(admin_client: Client, instance: RdsInstance) -> None:
    tenant(instance)
    tenant(instance_row(3))
    confirmation("tenant_summaries", "2", ago=timedelta(minutes=5, seconds=1))
    confirmation("tenant_summaries", "3", ago=timedelta(minutes=5, seconds=20))
    shown = text_of(admin_client.get(LIST))
    assert "on time confirmed 5 min ago" in shown
    assert "5 min ago to" not in shown


def test_an_unknown_count_is_not_zero(admin_client: Client, instance: RdsInstance) -> None:
    tenant(instance, user_count=None, location_count=None)
    page = admin_client.get(LIST).content.decode()
    assert page.count('<span class="quiet">unknown</span>') == 3  # users, locations, activity


def test_a_status_of_another_fleet_is_shown_as_it_is(
    admin_client: Client, instance: RdsInstance
) -> None:
    tenant(instance, status="frozen")
    assert "frozen" in text_of(admin_client.get(LIST))


def test_a_vanished_tenant_is_marked(admin_client: Client, instance: RdsInstance) -> None:
    tenant(instance, "1")
    tenant(instance, "2", vanished_at=timezone.now())
    assert "vanished</span>" in admin_client.get(LIST).content.decode()
    gone = text_of(admin_client.get(f"{LIST}?vanished=yes"))
    assert "Acme 2" in gone
    assert "Acme 1" not in gone
    assert "Acme 2" not in text_of(admin_client.get(f"{LIST}?vanished=no"))


@pytest.mark.parametrize(
    "query",
    ["acme", "BOB@example.com", "4711", " exam BO ", "bob@exa", "ACMÉ", "acme\\", "a:* | b"],
)
def test_tenants_are_found(admin_client: Client, instance: RdsInstance, query: str) -> None:
    name = "Acmé 4711" if "É" in query else "Acme 4711"
    tenant(instance, "4711", name=name, contact_email="bob@example.com")
    tenant(instance, "47", name="Other", contact_email="eve@nowhere.org")
    shown = text_of(admin_client.get(LIST, {"q": query}))
    assert name in shown
    assert "Other" not in shown


@pytest.mark.parametrize("query", ["cme", "acme other", "471", "***", "'"])
def test_what_is_no_beginning_of_a_word_finds_nothing(
    admin_client: Client, instance: RdsInstance, query: str
) -> None:
    tenant(instance, "17", contact_email="bob@example.com")
    tenant(instance, "18", name="Other")
    assert "Nothing matches" in text_of(admin_client.get(LIST, {"q": query}))


def test_a_search_that_finds_nothing_offers_a_wider_one(
    admin_client: Client, instance: RdsInstance
) -> None:
    tenant(instance)
    answer = admin_client.get(LIST, {"q": "acme other"})
    assert "Each word must begin a word of the name" in text_of(answer)
    assert '<a class="link" href="?q=acme">Search acme</a>' in answer.content.decode()


def test_a_name_of_any_length_can_be_stored(instance: RdsInstance) -> None:
    """Words longer than an index can hold are cut."""
    tenant(instance, name="漢" * 1000, contact_email="x" * 320)


def test_pages_go_on_from_instance_to_instance(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TenantAdmin, "list_per_page", 3)
    for number in (1, 2, 3):
        at = instance_row(number)
        for n in range(3 if number == 2 else 2):
            tenant(at, str(n), name=f"t{number}{n}", status="trial" if n else "active")
        confirmation("tenant_summaries", str(number), ago=timedelta(hours=number))
    assert pages_of(admin_client) == [["t10", "t11", "t20"], ["t21", "t22", "t30"], ["t31"]]
    assert pages_of(admin_client, q="t2") == [["t20", "t21", "t22"]]
    assert pages_of(admin_client, status="trial") == [["t11", "t21", "t22"], ["t31"]]


def pages_of(client: Client, **asked: Any) -> list[list[str]]:
    last = client.get(LIST, asked).context["cl"].paginator.num_pages
    answers = [client.get(LIST, asked | {"p": n}) for n in range(1, last + 1)]
    return [[row.name for row in answer.context["cl"].result_list] for answer in answers]


def test_tenants_are_filtered_by_freshness(admin_client: Client, instance: RdsInstance) -> None:
    tenant(instance, "1")
    confirmation("tenant_summaries", "2", ago=timedelta(days=2))
    tenant(instance_row(3), "2")
    confirmation("tenant_summaries", "3")
    tenant(instance_row(4, is_active=False), "3")
    for state, there in {"stale": ["1"], "on_time": ["2"], "unused": ["3"], "late": []}.items():
        rows = admin_client.get(LIST, {"fresh": state}).context["cl"].result_list
        assert [row.remote_id for row in rows] == there


@pytest.mark.parametrize(("days", "there"), [("7", ["1"]), ("14", ["1", "2"]), ("x", ["*"])])
def test_trials_that_end_soon(
    admin_client: Client, instance: RdsInstance, days: str, there: list[str]
) -> None:
    now = timezone.now()
    for key, ends in {"1": 6, "2": 13, "3": -1, "4": 40}.items():
        tenant(instance, key, status="trial", trial_ends_at=now + timedelta(days=ends))
    tenant(instance, "5", trial_ends_at=now + timedelta(days=2))  # became a customer
    rows = admin_client.get(LIST, {"trial": days}).context["cl"].result_list
    assert [row.remote_id for row in rows] == (there if there != ["*"] else [*"12345"])


def test_statuses_of_another_fleet_can_be_chosen(
    admin_client: Client, instance: RdsInstance
) -> None:
    for n, status in enumerate(["frozen", "active", "frozen", "warm"]):
        tenant(instance, str(n), status=status)
    assert search.statuses() == ["active", "frozen", "warm"]
    rows = admin_client.get(LIST, {"status": "frozen"}).context["cl"].result_list
    assert [row.remote_id for row in rows] == ["0", "2"]


def test_tenants_are_filtered_by_instance(admin_client: Client, instance: RdsInstance) -> None:
    tenant(instance, "1")
    tenant(instance_row(3), "2")
    shown = text_of(admin_client.get(f"{LIST}?instance__id__exact=3"))
    assert "Acme 2" in shown
    assert "Acme 1" not in shown


def test_the_list_takes_a_bounded_number_of_queries(
    admin_client: Client,
    instance: RdsInstance,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(30):
        tenant(instance, str(number))
    with django_assert_max_num_queries(21):
        admin_client.get(LIST)


@pytest.mark.parametrize("way", ["add/", "{pk}/delete/", "{pk}/change/"])
def test_nobody_writes_tenants_by_hand(
    admin_client: Client, instance: RdsInstance, way: str
) -> None:
    one = tenant(instance)
    answer = admin_client.post(LIST + way.format(pk=one.pk), {"name": "x", "post": "yes"})
    assert answer.status_code == 403
    one.refresh_from_db()
    assert one.name == "Acme 17"


def test_a_choice_of_instance_keeps_the_other_choices(admin_client: Client) -> None:
    for pk in (2, 3):
        tenant(instance_row(pk), name=f"at {pk}")
    page = admin_client.get(f"{LIST}?vanished=no&instance__id__exact=2")
    assert [row.name for row in page.context["cl"].result_list] == ["at 2"]
    html = page.content.decode()
    assert 'name="instance__id__exact" value="2"' in html
    for pk, chosen in ((2, ' class="chosen"'), (3, "")):
        address = f"?vanished=no&amp;instance__id__exact={pk}"
        assert f'<li{chosen}><a href="{address}">instance {pk} (rds{pk})</a>' in html
    assert '<li><a href="?vanished=no">All</a>' in html
    nothing = admin_client.get(LIST).content.decode()
    assert '<li class="chosen"><a href="?">All</a>' in nothing
    assert '<a href="?instance__id__exact=3">' in nothing


@pytest.mark.parametrize(
    ("column", "upwards"),
    [
        ("called", ["Ångström", "Beta", "charlie"]),
        ("at", ["Beta", "charlie", "Ångström"]),
        ("state", ["charlie", "Ångström", "Beta"]),
        ("users", ["Beta", "Ångström", "charlie"]),
        ("trial_end", ["charlie", "Beta", "Ångström"]),
        ("activity", ["Ångström", "charlie", "Beta"]),
    ],
)
def test_the_list_is_sorted_by_a_column(
    admin_client: Client, column: str, upwards: list[str]
) -> None:
    now = timezone.now()
    day = timedelta(days=1)
    tenant(instance_row(2), "1", name="Beta", status="trial", trial_ends_at=now + 2 * day)
    Tenant.objects.update(last_activity_at=now)
    times = {"trial_ends_at": now + day, "last_activity_at": now - day}
    tenant(RdsInstance.objects.get(pk=2), "2", name="charlie", user_count=9, **times)
    tenant(instance_row(3), "3", name="Ångström", status="new", user_count=3)
    number = TenantAdmin.list_display.index(column)
    for way, wanted in ((number, upwards), (-number, upwards[::-1])):
        if number == 0 and wanted != upwards:
            continue  # there is no -0
        rows = admin_client.get(LIST, {"o": f"{way}"}).context["cl"].result_list
        assert [row.name for row in rows] == wanted, way


def test_what_is_sorted_has_its_index(admin_client: Client) -> None:
    """Of each order, up and down: no row is sorted but those of equal keys."""
    at = instance_row(2)
    Tenant.objects.bulk_create(
        Tenant(
            instance=at,
            remote_id=str(n),
            name=f"T{n * 7919 % 3000}",
            status="active",
            user_count=n * 31 % 3000 if n % 3 else None,
            trial_ends_at=timezone.now() + timedelta(minutes=n) if n % 5 == 0 else None,
            last_activity_at=timezone.now() - timedelta(minutes=n) if n % 4 else None,
            cache_refreshed_at=timezone.now(),
        )
        for n in range(3000)
    )
    query("ANALYZE tenant_master")
    for column, ways in tenant_list.ORDERS.items():
        for order in ways:
            plan = Tenant.objects.order_by(*order)[:50].explain()
            assert "Index" in plan, (column, plan)
            assert "Seq Scan" not in plan, (column, plan)
            assert "Sort Key" not in plan or "Presorted Key" in plan, (column, plan)


def test_a_sort_that_there_is_not_changes_nothing(admin_client: Client) -> None:
    for n in (1, 2):
        tenant(instance_row(n), str(n))
    for asked in ("99", "-99", "x", str(TenantAdmin.list_display.index("locations"))):
        rows = admin_client.get(LIST, {"o": asked}).context["cl"].result_list
        assert [row.remote_id for row in rows] == ["1", "2"]


def test_the_order_is_the_same_after_a_sync(admin_client: Client) -> None:
    for n in (1, 2, 3):
        tenant(instance_row(n), str(n))
        confirmation("tenant_summaries", str(n), ago=timedelta(minutes=n))
    before = [row.pk for row in admin_client.get(LIST).context["cl"].result_list]
    Confirmation.objects.filter(target="2").update(at=timezone.now() - timedelta(days=2))
    Tenant.objects.filter(instance_id=1).update(cache_refreshed_at=timezone.now())
    after = [row.pk for row in admin_client.get(LIST).context["cl"].result_list]
    assert before == after


def test_freshness_is_said_once(admin_client: Client) -> None:
    for n in (1, 2, 3):
        tenant(instance_row(n), str(n))
        confirmation("tenant_summaries", str(n))
    answer = admin_client.get(LIST)
    assert "on time confirmed 5 min ago" in text_of(answer)
    assert "field-fresh" not in answer.content.decode()
    assert "Rows that differ" not in text_of(answer)


def test_a_row_of_another_freshness_says_so(admin_client: Client) -> None:
    for n, ago in ((1, 5), (2, 2 * 24 * 60), (3, 10)):
        tenant(instance_row(n), str(n))
        confirmation("tenant_summaries", str(n), ago=timedelta(minutes=ago))
    answer = admin_client.get(LIST)
    assert "on time confirmed 5 min ago to 10 min ago Rows that differ" in text_of(answer)
    rows = re.findall(r'<td class="field-fresh[^>]*>(.*?)</td>', answer.content.decode(), re.DOTALL)
    assert ["stale" in row for row in rows] == [False, True, False]
    assert "on time" not in "".join(rows)


@pytest.mark.parametrize(
    ("chosen", "there"),
    [
        ("7", ["2", "1"]),
        ("30", ["2", "1", "3"]),
        ("quiet30", ["5", "4"]),
        ("quiet90", ["5"]),
        ("unknown", ["6"]),
        ("x", ["1", "2", "3", "4", "5", "6"]),
    ],
)
def test_tenants_are_filtered_by_last_activity_in_its_order(
    admin_client: Client, instance: RdsInstance, chosen: str, there: list[str]
) -> None:
    for key, days in {"1": 3, "2": 1, "3": 20, "4": 40, "5": 100}.items():
        tenant(instance, key, last_activity_at=timezone.now() - timedelta(days=days))
    tenant(instance, "6")
    rows = admin_client.get(LIST, {"activity": chosen}).context["cl"].result_list
    assert [row.remote_id for row in rows] == there


def test_trials_that_ended(admin_client: Client, instance: RdsInstance) -> None:
    for key, ends in {"1": 6, "2": -3}.items():
        ends_at = timezone.now() + timedelta(days=ends)
        tenant(instance, key, status="trial", trial_ends_at=ends_at)
    rows = admin_client.get(LIST, {"trial": "ended"}).context["cl"].result_list
    assert [row.remote_id for row in rows] == ["2"]


def exported(client: Client, asked: str = "") -> list[list[str]]:
    answer: Any = client.post(f"{LIST}export/{asked}")
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))


def test_the_filtered_list_is_exported_in_its_order(
    admin_client: Client, instance: RdsInstance
) -> None:
    tenant(instance, "1", name="=1+1", contact_email="@SUM(1)", user_count=0)
    tenant(instance, "2", name="Acme", contact_name="Bob", contact_email="bob@x.org")
    tenant(instance_row(3), "3")
    number = TenantAdmin.list_display.index("state")
    header, *rows = exported(admin_client, f"?instance__id__exact=2&o=-{number}")
    assert header[:7] == [
        *("instance", "instance name", "tenant", "name", "status", "contact", "contact e-mail"),
    ]
    assert [row[:8] for row in rows] == [
        ["2", "rds2", "2", "Acme", "active", "Bob", "bob@x.org", ""],
        ["2", "rds2", "1", "'=1+1", "active", "", "'@SUM(1)", "0"],
    ]
    entry = Activity.objects.get(action="tenants.exported")
    assert entry.after
    assert entry.after["filter"]["instance__id__exact"] == "2"
    assert len(exported(admin_client)) == 1 + 3


def test_to_export_needs_a_permission_of_its_own(client: Client, instance: RdsInstance) -> None:
    tenant(instance)
    user = staff()
    user.user_permissions.set(Permission.objects.filter(codename="view_tenant"))
    client.force_login(user)
    assert "Export as CSV" not in text_of(client.get(LIST))
    assert client.post(f"{LIST}export/").status_code == 403
    for role, may in {"support_admin": True, "billing_admin": True, "read_only": False}.items():
        user.groups.set([Group.objects.get(name=role)])
        assert (client.post(f"{LIST}export/").status_code == 200) is may, role
