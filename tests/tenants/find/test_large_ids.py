"""Instance ids of ten digits, up to the last integer, are like any other: from end to end."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from common.errors import UsageError
from tenants.admin.ghost.actions import wish
from tenants.find import live_lookup, search
from tenants.find.lookup import find
from tenants.models import RdsInstance, Tenant
from tenants.models.instance import MAX_ID, parse_id
from tests.caches import query, register, run_sync
from tests.instances import InstanceFleet
from tests.pages import text_of
from tests.rows import instance_row

MAIL = "ann@example.com"
LARGE = [1_000_000_000, MAX_ID]


@pytest.fixture(params=LARGE)
def large(request: pytest.FixtureRequest, fleet: InstanceFleet, transactional_db: None) -> int:
    """Ann's account is on the second server, which is registered under a large id."""
    number = int(request.param)
    there = replace(fleet[2], id=number)
    register(fleet.master)
    register(there)
    fleet.master.add_route(1, MAIL, 7, number, user_id=70, user_name="Ann")
    there.add_tenant(7, "Acme")
    there.add_user(70, 7, MAIL, name="Ann")
    for sync in ("tenant_summaries", "user_routing"):
        assert run_sync(sync).state == "succeeded"
    return number


def test_a_cached_account_is_found_on_its_instance(large: int) -> None:
    (route,) = find(MAIL).shown
    assert (route.instance_id, route.instance_name, route.tenant_name) == (
        str(large),
        f"rds{large}",
        "Acme",
    )
    out = StringIO()
    call_command("find_user", MAIL, "--live", stdout=out)
    assert "not registered" not in out.getvalue()
    assert f"instance {large} (rds{large})" in out.getvalue()
    assert "the same as in the cache" in out.getvalue()


def test_it_is_queried_live(large: int) -> None:
    live = live_lookup.ask(find(MAIL))
    assert live.problems == []
    assert [user.user_id for user in live.instances[str(large)].rows] == ["70"]


def test_the_view_for_sql_readers_names_instance_and_tenant(large: int) -> None:
    found = query("SELECT rds_instance_id, tenant_master_id FROM user_email_routing_cache")
    assert found == [(large, Tenant.objects.get().pk)]


def test_a_tenant_is_found_by_instance_and_id(large: int) -> None:
    assert [row.name for row in search.search(f"{large}:7").tenants.rows] == ["Acme"]


def test_pages_name_tenant_and_instance(large: int, admin_client: Client) -> None:
    for address in (f"/admin/find/?q={MAIL}", "/admin/tenants/userroute/"):
        page = text_of(admin_client.get(address))
        assert "Acme" in page, address
        assert f"rds{large}" in page, address
        assert "not registered" not in page, address


def test_ghosts_are_synced_on_it(large: int) -> None:
    assert wish("", str(large)).targets == (str(large),)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1000000000", 1_000_000_000),
        ("2147483647", MAX_ID),
        *((text, None) for text in ("2147483648", "9999999999", "01", "-1", "", "7 ", "٧", "x")),
    ],
)
@pytest.mark.django_db
def test_code_and_database_have_one_bound(text: str, number: int | None) -> None:
    assert parse_id(text) == number
    assert query("SELECT rainbo_instance_id(%s)", text) == [(number,)]


@pytest.mark.django_db
def test_a_larger_id_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_ROLE", "secret")
    words = ["--id", str(MAX_ID + 1), "--password-env", "OF_THE_ROLE", "--no-check"]
    words += ["--name", "n", "--host", "h", "--database", "d", "--user", "u"]
    with pytest.raises(UsageError, match="less than or equal to 2147483647"):
        call_command("add_instance", *words)


@pytest.mark.django_db
def test_the_next_id_after_the_last_is_the_lowest_free_one() -> None:
    instance_row(1)
    instance_row(MAX_ID)
    assert RdsInstance.next_id() == 2
