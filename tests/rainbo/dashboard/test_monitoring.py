"""The page Monitoring: how the syncs did, for users with the permission to view runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from rainbo.dashboard import sync_charts
from syncs.models import RunState, SyncRun
from syncs.status.statistics import Part, Window
from tests.pages import text_of
from tests.rainbo import fleets
from tests.rows import ended_run, instance_row, staff
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db
PAGE = "/admin/monitoring/"
HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = Window.of(24, NOON)


def shown(client: Client, hours: str = "24") -> str:
    return text_of(client.get(f"{PAGE}?hours={hours}"))


def test_a_sync_s_numbers_stand_in_its_row(admin_client: Client) -> None:
    for seconds in (1.0, 2.0, 3.0):
        ended_run(seconds=seconds)
    ended_run(state=RunState.PARTIAL, seconds=4.0)
    last = ended_run(state=RunState.FAILED, ago=timedelta(minutes=2), seconds=30.0)
    text = shown(admin_client)
    assert (
        f"E-mail routes 60 % 5 partial 1 failed 1 8.0 s 30.0 s run {last.pk} failed 2 min ago"
        in text
    )
    assert "5 executions, 60 % succeeded; none in 47 of 48 parts" in text


def test_without_runs_nothing_is_claimed(admin_client: Client) -> None:
    text = shown(admin_client)
    assert "E-mail routes unknown 0 unknown unknown never Nothing ended in this time." in text
    assert "0 %" not in text
    assert "<svg" not in admin_client.get(PAGE).content.decode()


def test_a_rate_is_never_rounded_up_to_all() -> None:
    parts = (Part(NOON, executions=10_000, successes=9_999, failures=1),)
    chart = sync_charts.drawn(parts, DAY)
    assert chart is not None
    assert chart.outcomes == "10,000 executions, 99.9 % succeeded."


def test_failures_in_a_row_are_named(admin_client: Client) -> None:
    ended_run(ago=HOUR / 2)
    ended_run(state=RunState.FAILED)
    assert "in a row" not in shown(admin_client)
    ended_run(state=RunState.LOST)
    assert "2 failures in a row." in shown(admin_client)


@pytest.mark.parametrize(("hours", "count"), [("1", 1), ("6", 2), ("24", 3), ("72", 4), ("168", 5)])
def test_the_window_is_chosen(admin_client: Client, hours: str, count: int) -> None:
    for ago in (0.5, 5, 20, 70, 160):
        ended_run(ago=ago * HOUR)
    page = admin_client.get(f"{PAGE}?hours={hours}")
    assert f"{count} execution" in text_of(page)
    assert re.findall(r'hours=(\d+)" aria-current="true"', page.content.decode()) == [hours]


@pytest.mark.parametrize("hours", ["0", "169", "-1", "x", "", "1e3", "٣", "9" * 5000, "1 h"])
def test_what_is_no_window_shows_a_day_and_says_so(admin_client: Client, hours: str) -> None:
    ended_run(ago=23 * HOUR)
    text = shown(admin_client, hours)
    assert "A window has 1 to 168 hours" in text
    assert "these are 24." in text
    assert "1 execution," in text


def test_recent_executions_are_listed_with_their_errors(admin_client: Client) -> None:
    older = ended_run(ago=HOUR, sync="ghost_users")
    run = ended_run(state=RunState.FAILED, seconds=12.5, error="no <instance> answered")
    for _ in range(12):
        ended_run(ago=2 * HOUR)
    page = admin_client.get(PAGE)
    text = text_of(page)
    row = f"run {run.pk} E-mail routes failed 5 min ago 12.5 s schedule"
    assert row in text
    assert text.index(row) < text.index(f"run {older.pk} Ghost users succeeded")
    assert "no &lt;instance&gt; answered" in page.content.decode()
    assert page.content.decode().count('data-label="result"') == 11  # ten of one sync at most


def test_what_is_wrong_now_is_what_the_first_page_says(admin_client: Client) -> None:
    fleets.write(3, 12)
    default_schedules()  # and no worker has ever reported
    page = admin_client.get(PAGE)
    (said,) = re.findall(r"workers dead (.+?) Syncs sync", text_of(page))
    assert said.startswith("No worker has ever reported: ")
    assert said in text_of(admin_client.get("/admin/"))
    assert 'href="/admin/#worker"' in page.content.decode()


def test_who_may_not_see_runs_is_denied(client: Client) -> None:
    user = staff()
    client.force_login(user)
    assert client.get(PAGE).status_code == 403
    user.user_permissions.set(Permission.objects.filter(codename="view_syncrun"))
    instance_row(1, name="rds-north", health="down")
    page = client.get(PAGE)
    assert page.status_code == 200
    assert "instance down" not in text_of(page)  # needs a permission of its own
    user.user_permissions.set(Permission.objects.filter(codename__endswith="view_rdsinstance"))
    assert client.get(PAGE).status_code == 403
    client.force_login(staff("root", is_superuser=True))
    assert "instance down" in text_of(client.get(PAGE))


@pytest.mark.parametrize(("instances", "runs"), [(0, 0), (3, 10), (60, 200)])
def test_the_number_of_queries_is_bounded(admin_client: Client, instances: int, runs: int) -> None:
    fleets.write(instances, runs)
    admin_client.get(PAGE)
    with CaptureQueriesContext(connection) as asked:
        admin_client.get(PAGE)
    assert len(asked) <= 28


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("/dashboard/monitoring", "/admin/monitoring/"),
        ("/dashboard/monitoring?hours=6", "/admin/monitoring/?hours=6"),
        ("/dashboard/integrations", "/admin/"),
    ],
)
def test_earlier_addresses_lead_to_the_console(
    admin_client: Client, address: str, leads_to: str
) -> None:
    answer = admin_client.get(address)
    assert (answer.status_code, answer["Location"]) == (302, leads_to)


def test_columns_are_shares_with_failures_at_the_top() -> None:
    parts = (
        Part(DAY.since, executions=4, successes=2, failures=1),
        Part(DAY.since + 12 * HOUR),
    )
    chart = sync_charts.drawn(parts, DAY)
    assert chart is not None
    assert [(block.x, block.y, block.height, block.tone) for block in chart.blocks] == [
        (0, 16, 16, "good"),
        (0, 8, 8, "warning"),
        (0, 0, 8, "bad"),
    ]
    title = "Sat 12:00–Sun 00:00: 2 succeeded, 1 partial or held, 1 failed"
    assert {block.title for block in chart.blocks} == {title}


def test_the_line_breaks_where_nothing_ran_and_its_ends_are_marked() -> None:
    hours = [NOON - 24 * HOUR + n * 6 * HOUR for n in range(4)]
    timed = dict.fromkeys(("average_seconds", "shortest_seconds", "longest_seconds"), 0.0)
    parts = (
        Part(hours[0], 2, 2, 0, 2.0, 1.0, 3.0),
        Part(hours[1]),
        Part(hours[2], 1, 0, 1, 4.0, 4.0, 4.0),
        Part(hours[3], 1, 1, 0, **timed),
    )
    chart = sync_charts.drawn(parts, DAY)
    assert chart is not None
    assert len(chart.lines) == 2
    assert [(mark.x, mark.y, mark.y2) for mark in chart.marks] == [(2.5, 0, 6), (3.5, 34, 40)]
    assert chart.durations == (
        "Durations: shortest 0 ms (Sun 06:00–Sun 12:00), longest 4.0 s (Sun 00:00–Sun 06:00)."
    )


def test_lost_runs_alone_have_no_known_duration(admin_client: Client) -> None:
    ended_run(state=RunState.LOST)
    SyncRun.objects.update(seconds=None)
    assert "Durations: unknown." in shown(admin_client)
