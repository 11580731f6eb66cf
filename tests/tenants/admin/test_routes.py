"""The console's pages of routes, and that they stay fast with many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from common.model_admin import BoundedPaginator
from tenants.models import Tenant, UserRoute
from tests.pages import text_of
from tests.rows import confirmation, ended_run, instance_row, run_part

LIST = "/admin/tenants/userroute/"
MANY = 200_000
LAST = 20_000  # routes of an instance whose e-mails all come last in the alphabet
FIRST = 20_000  # routes of one whose rows all come first in the table
FILL = """
    INSERT INTO user_routes (source_id, email, email_key, remote_instance_id, on_master,
        remote_tenant_id, remote_user_id, user_name, status, changed_at)
    SELECT 'a' || n, 'a' || n || '@example.com', 'a' || n || '@example.com', '7', false,
           (n %% 5000)::text, n::text, NULL, 'Active', now()
      FROM generate_series(1, %s) AS n
    UNION ALL
    SELECT n::text, 'user' || n || '@example.com', 'user' || n || '@example.com',
           (n %% 3 + 1)::text, n %% 3 = 0, (n %% 5000)::text, n::text, 'User ' || n, 'Active', now()
      FROM generate_series(1, %s) AS n
    UNION ALL
    SELECT 'z' || n, 'z' || n || '@example.com', 'z' || n || '@example.com', '8', false,
           (n %% 5000)::text, n::text, NULL, 'Active', now()
      FROM generate_series(1, %s) AS n"""

pytestmark = pytest.mark.django_db


def route(source_id: str, email: str = "Ann@example.com", **fields: Any) -> UserRoute:
    known = {
        "email": email,
        "email_key": email.lower(),
        "remote_instance_id": "1",
        "on_master": True,
        "remote_tenant_id": "5",
        "remote_user_id": "9",
        "status": "Active",
        "changed_at": timezone.now(),
    }
    return UserRoute.objects.create(source_id=source_id, **known | fields)


def search(client: Client, query: str, **more: str) -> str:
    return text_of(client.get(LIST, {"q": query, **more}))


def test_what_readers_are_not_shown_is_found(admin_client: Client) -> None:
    route("1", "shown@example.com")
    route("2", "loser@example.com", withheld_reason="a later account has this e-mail")
    shown = text_of(admin_client.get(LIST, {"readers": "withheld"}))
    assert "loser@example.com" in shown
    assert "shown@example.com" not in shown
    assert "loser@example.com" not in text_of(admin_client.get(LIST, {"readers": "shown"}))
    assert "loser@" in text_of(admin_client.get(LIST, {"readers": "withheld", "instance": "1"}))


def test_a_routing_run_lists_the_routes_that_it_withholds(admin_client: Client) -> None:
    run = ended_run()
    run_part(run, withheld=1)
    route("1", "shown@example.com")
    route("2", "loser@example.com", withheld_reason="a later account has this e-mail")
    page = admin_client.get(f"/admin/syncs/syncrun/{run.pk}/change/")
    assert "loser@example.com in tenant 5" in text_of(page)
    assert "shown@example.com" not in text_of(page)
    assert f'href="{LIST}?readers=withheld"' in page.content.decode()


def test_a_route_names_its_tenant_and_its_age(admin_client: Client) -> None:
    instance = instance_row(1)
    Tenant.objects.create(
        instance=instance, remote_id="5", name="Acme", cache_refreshed_at=timezone.now()
    )
    confirmation(target="1", ago=timedelta(minutes=5))
    route("a", user_name="Ann")
    shown = text_of(admin_client.get(LIST))
    for expected in (
        "Ann@example.com",
        "Acme",
        "instance 1 (rds1)",
        "Active",
        "5 min ago",
        "shown",
    ):
        assert expected in shown


def test_a_tenant_that_was_not_read_is_named_by_value(admin_client: Client) -> None:
    route("a", remote_instance_id="9", remote_tenant_id="123")
    shown = text_of(admin_client.get(LIST))
    assert "tenant 123 on instance 9, not yet read" in shown
    assert "instance 9, not registered" in shown


def test_an_instance_id_that_is_no_number_breaks_nothing(admin_client: Client) -> None:
    route("a", remote_instance_id="eu-west")
    route("b", remote_instance_id="99999999999999999999")
    assert "instance eu-west, not registered" in text_of(admin_client.get(LIST))


def test_a_withheld_route_says_why(admin_client: Client) -> None:
    route("a", withheld_reason="another account of the tenant has this e-mail")
    shown = text_of(admin_client.get(LIST))
    assert "withheld another account of the tenant" in shown


def test_routes_are_found_by_the_whole_email(admin_client: Client) -> None:
    route("a", "Ann@example.com")
    route("b", "ann@example.com.au")
    shown = search(admin_client, " ANN@example.com ")
    assert "Ann@example.com" in shown
    assert "com.au" not in shown


def test_routes_are_found_in_every_unicode_form(admin_client: Client) -> None:
    route("a", "zo\u00eb@example.com")
    assert "zo\u00eb@example.com" in search(admin_client, "Zoe\u0308@example.com")


@pytest.mark.parametrize(
    ("query", "found"),
    [("ann*", ["ann1@", "ann2@"]), ("a_n*", []), ("a%*", []), ("nn*", []), ("ann", [])],
)
def test_routes_are_found_by_their_beginning(
    admin_client: Client, query: str, found: list[str]
) -> None:
    route("a", "ann1@example.com")
    route("b", "ann2@example.com")
    shown = search(admin_client, query)
    assert [name for name in ("ann1@", "ann2@") if name in shown] == found


@pytest.mark.parametrize("query", ["a\0b", "x" * 100_000, "*", "'", "%%*"])
def test_odd_searches_are_answered(admin_client: Client, query: str) -> None:
    route("a")
    assert admin_client.get(LIST, {"q": query[:3_000]}).status_code == 200


def test_routes_of_one_tenant_are_shown(admin_client: Client) -> None:
    instance_row(1)
    route("a", "ann@example.com", remote_tenant_id="5")
    route("b", "bob@example.com", remote_tenant_id="6")
    route("c", "eve@example.com", remote_instance_id="2")
    shown = text_of(admin_client.get(LIST, {"instance": "1", "tenant": "5"}))
    assert [n for n in ("ann@", "bob@", "eve@") if n in shown] == ["ann@"]
    shown = text_of(admin_client.get(LIST, {"instance": "1"}))
    assert [n for n in ("ann@", "bob@", "eve@") if n in shown] == ["ann@", "bob@"]


@pytest.mark.parametrize(
    "lookup", ["user_name__icontains=a", "email__contains=a", "status=Active", "changed_at__gt=1"]
)
def test_a_lookup_that_no_index_serves_is_refused(admin_client: Client, lookup: str) -> None:
    assert admin_client.get(f"{LIST}?{lookup}").status_code == 400


def test_nothing_can_be_sorted_by_what_has_no_index(admin_client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(f"{LIST}?o=4.-5")
    lists = [q["sql"] for q in queries if 'FROM "user_routes"' in q["sql"] and "ORDER" in q["sql"]]
    assert lists
    assert all('BY "user_routes"."email_key" ASC' in statement for statement in lists)


@pytest.mark.parametrize("way", ["add/", "a/delete/", "a/change/"])
def test_nobody_writes_routes_by_hand(admin_client: Client, way: str) -> None:
    route("a")
    answer = admin_client.post(LIST + way, {"email": "x@example.com", "post": "yes"})
    assert answer.status_code == 403
    assert UserRoute.objects.get().email == "Ann@example.com"


def test_the_page_shows_exact_times(admin_client: Client) -> None:
    at = confirmation().at
    route("weird/id_1", source_updated_at=at)
    page = admin_client.get(f"{LIST}weird_2Fid_5F1/change/")
    assert f"{at:%Y-%m-%d %H:%M:%S} UTC" in text_of(page)


def test_a_list_is_cut_at_a_limit(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedPaginator, "limit", 3)
    for name in "abc":
        route(name)
    assert "3 routes" in text_of(admin_client.get(LIST))
    assert "of more" not in text_of(admin_client.get(LIST))
    route("d")
    assert "the first 3 routes of more" in text_of(admin_client.get(LIST))


@pytest.fixture(scope="module")
def many(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Two hundred thousand routes, for the tests of this module that ask for them."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(FILL, [FIRST, MANY, LAST])
        cursor.execute("VACUUM ANALYZE user_routes")
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE user_routes")
        cursor.execute("ANALYZE user_routes")


def rows_read(statement: str) -> int:
    """How many rows the server touches for a statement, those that it throws away included."""
    with connection.cursor() as cursor:
        # Else a sequential scan begins where another one stopped, and each test sees other rows.
        cursor.execute("SET LOCAL synchronize_seqscans = off")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        plan = cursor.fetchone()[0]
    plan = json.loads(plan) if isinstance(plan, str) else plan

    def touched(node: dict[str, Any]) -> int:
        below = node.get("Plans", [])
        if below:
            return max(map(touched, below), default=0)
        thrown = node.get("Rows Removed by Filter", 0) + node.get(
            "Rows Removed by Index Recheck", 0
        )
        return int((node["Actual Rows"] + thrown) * node["Actual Loops"])

    return touched(plan[0]["Plan"])


def test_a_search_that_finds_nothing_says_why_and_offers_a_wider_one(
    admin_client: Client,
) -> None:
    instance_row(1, is_master=True)
    confirmation("user_routing", ago=timedelta(seconds=25))
    route("1", "aaliyah@example.com")
    page = admin_client.get(LIST, {"q": "Aali"})
    shown = text_of(page)
    assert "No sync has ever seen it." in shown
    assert re.search(r"The cache of routes is 2\d s old, on time\.", shown)
    assert 'href="?q=Aali%2A">Search Aali*</a>' in page.content.decode()
    assert "aaliyah@example.com" in search(admin_client, "Aali*")


def test_a_search_that_a_filter_empties_says_so(admin_client: Client) -> None:
    instance_row(2, is_master=True)
    route("1", "ann@example.com")
    shown = search(admin_client, "ann@example.com", instance="2")
    assert "It has 1 route hidden by the filter." in shown


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"p": "3"},
        {"p": "200"},
        {"q": "user77777@example.com"},
        {"q": "user777*"},
        {"q": "user*"},
        {"q": "nobody@example.com"},
        {"instance": "2"},
        {"instance": "2", "p": "200"},
        {"instance": "8"},
        {"instance": "9"},
        {"instance": "2", "tenant": "4"},
        {"instance": "2", "q": "user1*"},
        {"all": "1"},
        {"_facets": "True"},
    ],
    ids=str,
)
def test_no_page_reads_more_than_it_may_show(
    many: None, admin_client: Client, query: dict[str, str]
) -> None:
    for number in (1, 2, 8, 9):
        instance_row(number)
    with CaptureQueriesContext(connection) as queries:
        assert admin_client.get(LIST, query).status_code == 200
    asked = [q["sql"] for q in queries if 'FROM "user_routes"' in q["sql"]]
    assert asked
    assert max(map(rows_read, asked)) <= MANY / 5


@pytest.mark.parametrize("query", [{}, {"q": "user777*"}, {"instance": "2"}], ids=str)
def test_a_page_takes_the_same_few_queries(
    many: None,
    admin_client: Client,
    query: dict[str, str],
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    instance_row(2)
    with django_assert_max_num_queries(9):
        assert len(admin_client.get(LIST, query).context["results"]) == 50
