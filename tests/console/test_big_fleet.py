"""Every page with a big fleet: few queries, few rows, whatever there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django.plugin import DjangoDbBlocker

from alerts.models import Rule
from localfleet.data.large_seed import Size
from localfleet.servers import databases
from localfleet.servers.fleet import LocalFleet
from rainbo.auth import sessions
from tests import seeds
from tests.console.measure import Cost, measured
from tests.console.pages import PAGES, Page, Who

Visitors = dict[Who, Client]
LISTS = [page for page in PAGES if re.fullmatch(r"(\w+/){2,3}", page.address) and page.gives == 200]
MOST_BYTES = 120_000
PREVIEW_QUERIES, PREVIEW_READS = 30, 60_000  # of a rule


@pytest.fixture(scope="module")
def size(request: pytest.FixtureRequest) -> Size:
    """`make soak` takes the full size."""
    soak = any(item.get_closest_marker("soak") for item in request.session.items)
    return seeds.FULL if soak else seeds.LARGE


@pytest.fixture(scope="module")
def big(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    postgres_servers: LocalFleet,
    size: Size,
) -> Iterator[Visitors]:
    """Everybody, in a database of its own; what a test does there is undone."""
    own, name = postgres_servers["rainbo"], "big_fleet"
    with django_db_blocker.unblock():
        usual = connection.settings_dict["NAME"]
        databases.create(own, name, owner=connection.settings_dict["USER"])
        try:
            connect_to(name)
            call_command("migrate", verbosity=0)
            seeds.fill(size)
            yield {who: visitor(who) for who in Who}
        finally:
            connect_to(usual)
            databases.drop(own, name)


def connect_to(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name
    ContentType.objects.clear_cache()  # each database numbers them again


def visitor(who: Who) -> Client:
    client = Client()
    if user := who.user():
        client.force_login(user)
    return client


def cost(page: Page, big: Visitors) -> Cost:
    url, client = page.url(), big[page.who]
    assert url, f"no row for {page.name}"
    with page.as_set_up():
        client.get(url)  # what is read once for all pages
        # Or the one request in 30 s that notes when the person was last here would cost more.
        with patch.object(sessions, "NOTE_EVERY", 3600), measured() as found:
            answer = client.get(url)
    assert answer.status_code == page.gives, url
    return found


def excess(page: Page, found: Cost) -> Iterator[str]:
    if found.queries > page.queries:
        yield f"{found.queries} queries, not {page.queries}"
    if found.total > page.reads:
        yield f"{found.total:,} rows read, not {page.reads:,}: {found.most}"
    if found.scanned:
        yield f"whole tables read: {', '.join(found.scanned)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_holds_its_bounds(page: Page, big: Visitors) -> None:
    assert list(excess(page, cost(page, big))) == []


@pytest.mark.parametrize("page", LISTS, ids=lambda page: page.name)
def test_the_html_of_a_list_is_bounded(page: Page, big: Visitors) -> None:
    answer = big[page.who].get(page.url() or "")
    assert len(answer.content) <= MOST_BYTES


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_every_page_at_full_size(big: Visitors) -> None:
    """Prints what each page costs; the time is the machine's."""
    wrong = []
    for page in PAGES:
        found = cost(page, big)
        print(
            f"{page.name:32} {found.milliseconds:6.0f} ms {found.queries:3} queries "
            f"{found.total:7,} rows  {found.most}"
        )
        wrong += [f"{page.name}: {complaint}" for complaint in excess(page, found)]
    assert wrong == []


def test_the_preview_of_each_rule_is_bounded(big: Visitors) -> None:
    """It looks through a week of runs or of checks, a bounded number of each."""
    client, wrong = big[Who.ADMIN], []
    for rule in Rule.objects.order_by("pk"):
        url = f"/admin/alerts/rule/{rule.pk}/change/"
        with measured() as found:
            answer = client.post(url, {"enabled": "on", "_preview": ""})
        assert "Preview of the last 7 days</h2>" in answer.content.decode(), rule.name
        if found.queries > PREVIEW_QUERIES or found.total > PREVIEW_READS:
            wrong.append(f"{rule.name}: {found.queries} queries, {found.total:,} rows")
    assert not wrong, "\n".join(wrong)
