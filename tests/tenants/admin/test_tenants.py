"""The console's pages of tenants."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tenants.admin.tenant.badges import STATUS_TONES
from tenants.admin.tenants import TenantAdmin
from tenants.models import RdsInstance, Tenant
from tenants.models.tenant import TenantStatus
from tenants.summaries import search
from tests.pages import text_of
from tests.rows import confirmation, instance_row

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
    for expected in ("Acme 17", "2 rds2", "1,234", "on time 5 min ago", "in 3 d"):
        assert expected in shown


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


def test_the_worst_fresh_come_first(admin_client: Client) -> None:
    ages = {1: 5, 2: 60 * 24, 3: 90, 4: None, 5: 60 * 48, 6: 60 * 72}
    for number, minutes in ages.items():
        tenant(instance_row(number, is_active=number != 5), str(number), name=f"Acme{number}")
        if minutes is not None:
            confirmation("tenant_summaries", str(number), ago=timedelta(minutes=minutes))
    states = ["unknown", "stale", "late", "on time", "not synced"]
    page = admin_client.get(LIST)
    names = [row.name for row in page.context["cl"].result_list]
    assert names == ["Acme4", "Acme6", "Acme2", "Acme3", "Acme1", "Acme5"]
    shown = text_of(page).partition("Acme4")[2]
    assert [s for _, s in sorted((shown.index(f"{s} "), s) for s in states)] == states


def test_pages_go_on_from_instance_to_instance(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TenantAdmin, "list_per_page", 3)
    for number in (1, 2, 3):
        at = instance_row(number)
        for n in range(3 if number == 2 else 2):
            tenant(at, str(n), name=f"t{number}{n}", status="trial" if n else "active")
        confirmation("tenant_summaries", str(number), ago=timedelta(hours=number))
    assert pages_of(admin_client) == [["t30", "t31", "t20"], ["t21", "t22", "t10"], ["t11"]]
    assert pages_of(admin_client, q="t2") == [["t20", "t21", "t22"]]
    assert pages_of(admin_client, status="trial") == [["t31", "t21", "t22"], ["t11"]]


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
