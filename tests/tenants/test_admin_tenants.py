"""The console's pages of tenants."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tenants.admin.tenants import STATUS_TONES
from tenants.models import RdsInstance, Tenant
from tenants.models.tenant import TenantStatus
from tests.pages import text_of
from tests.rows import instance_row

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
    shown = text_of(admin_client.get(LIST))
    for words in ("Acme 17", "instance 2 (rds2)", "1,234", "0 s ago", "in 3 d"):
        assert words in shown


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


@pytest.mark.parametrize("query", ["acme", "BOB@example.com", "4711"])
def test_tenants_are_found(admin_client: Client, instance: RdsInstance, query: str) -> None:
    tenant(instance, "4711", contact_email="bob@example.com")
    tenant(instance, "47", name="Other", contact_email="eve@example.org")
    shown = text_of(admin_client.get(LIST, {"q": query}))
    assert "Acme 4711" in shown
    assert "Other" not in shown


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
    with django_assert_max_num_queries(8):
        admin_client.get(LIST)


def test_the_page_leads_to_the_tenants_routes(admin_client: Client, instance: RdsInstance) -> None:
    one = tenant(instance, "a b", contact_name="Bob", contact_email="bob@example.com")
    answer = admin_client.get(f"{LIST}{one.pk}/change/")
    assert "Bob, bob@example.com" in text_of(answer)
    assert "/admin/tenants/userroute/?instance=2&amp;tenant=a+b" in answer.content.decode()


@pytest.mark.parametrize("way", ["add/", "{pk}/delete/", "{pk}/change/"])
def test_nobody_writes_tenants_by_hand(
    admin_client: Client, instance: RdsInstance, way: str
) -> None:
    one = tenant(instance)
    answer = admin_client.post(LIST + way.format(pk=one.pk), {"name": "x", "post": "yes"})
    assert answer.status_code == 403
    one.refresh_from_db()
    assert one.name == "Acme 17"
