"""The console's pages of what people did."""

from __future__ import annotations

import csv
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from activity.models import Activity
from tests.activity.rows import entry, many_entries
from tests.pages import text_of
from tests.rows import instance_row, staff

LIST = "/admin/activity/activity/"
EXPORT = f"{LIST}export/"

pytestmark = pytest.mark.django_db


def may(user: User, *codenames: str) -> User:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return user


def exported(response: Any) -> list[list[str]]:
    assert response.status_code == 200
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.reader(StringIO(text)))


def test_a_line_says_who_did_what_on_what_from_where(admin_client: Client) -> None:
    entry(before={"is_active": True}, after={"is_active": False})
    shown = text_of(admin_client.get(LIST))
    for expected in ("ann", "disabled an instance", "rds1 (3)", "is_active: yes → no", "10.0.0.7"):
        assert expected in shown


def test_an_empty_list_says_what_will_come(admin_client: Client) -> None:
    page = admin_client.get(LIST)
    assert "No activity yet." in text_of(page)
    assert EXPORT not in page.content.decode()


def test_names_lead_to_what_is_still_there(admin_client: Client) -> None:
    ann, instance = staff("ann"), instance_row(3)
    entry(actor_id=ann.pk, subject=str(instance))
    entry(actor="gone", actor_id=987_654, subject="rds9", subject_id="9")
    entry(actor="odd", subject="a castle", subject_kind="castles.castle", subject_id="x")
    page = admin_client.get(LIST).content.decode()
    assert f'href="/admin/auth/user/{ann.pk}/change/">ann</a>' in page
    assert f'href="/admin/tenants/rdsinstance/3/change/">{instance}</a>' in page
    assert all(f">{name}</a>" not in page for name in ("gone", "rds9", "odd", "a castle"))


def test_names_lead_only_where_the_person_may_go(client: Client) -> None:
    ann, instance = staff("ann"), instance_row(3)
    entry(actor_id=ann.pk, subject=str(instance))
    client.force_login(may(staff("viewer"), "view_activity", "view_rdsinstance"))
    page = client.get(LIST).content.decode()
    assert "/admin/auth/user/" not in page
    assert "/admin/tenants/rdsinstance/3/change/" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"new", "old", "other"}),
        ("action=run.requested", {"other"}),
        ("actor=bob", {"other"}),
        ("since=today", {"new", "other"}),
        ("since=7", {"new", "other"}),
        ("since=30", {"new", "old", "other"}),
        ("of=tenants.rdsinstance:7", {"old"}),
        ("of=nothing", set()),
        ("q=OL", {"old"}),
        ("q=bo", {"other"}),
        ("q=ther", set()),
        ("q=%25", set()),
        ("q=%00", {"new", "old", "other"}),
        ("actor=bob&action=run.requested&since=today&q=other", {"other"}),
        ("at_from=yesterday", set()),
    ],
)
def test_the_list_is_narrowed(admin_client: Client, query: str, found: set[str]) -> None:
    entry(subject="new")
    entry(subject="old", subject_id="7", days_ago=20)
    entry("run.requested", subject="other", actor="bob", subject_kind="", subject_id="")
    rows = admin_client.get(f"{LIST}?{query}").context["cl"].result_list
    assert {row.subject for row in rows} == found


def test_days_are_those_of_the_one_who_looks(admin_client: Client, settings: Any) -> None:
    settings.RAINBO_TIME_ZONE = "Asia/Tokyo"
    midnight = timezone.now().replace(hour=15, minute=0, second=0, microsecond=0)  # of Tokyo
    midnight -= timedelta(days=9)
    entry(subject="the day before", at=midnight - timedelta(seconds=1))
    entry(subject="first", at=midnight)
    entry(subject="last", at=midnight + timedelta(hours=47, minutes=59))
    entry(subject="the day after", at=midnight + timedelta(hours=48))
    first, last = ((midnight + timedelta(hours=9, days=n)).date() for n in (0, 1))
    rows = admin_client.get(f"{LIST}?at_from={first}&at_to={last}").context["cl"].result_list
    assert [row.subject for row in rows] == ["last", "first"]


def test_the_latest_comes_first(admin_client: Client) -> None:
    for days in (3, 1, 2):
        entry(subject=f"{days} days", days_ago=days)
    rows = admin_client.get(LIST).context["cl"].result_list
    assert [row.subject for row in rows] == ["1 days", "2 days", "3 days"]


def test_one_entry_shows_before_and_after_side_by_side(admin_client: Client) -> None:
    shown = entry(
        before={"host": "old.example.com", "note": ""},
        after={"host": "new.example.com", "note": "moved", "password": "changed"}
        | {"until": "2026-11-30T10:00:00Z", "options": {"dry_run": True}, "groups": ["a", "b"]},
    )
    page = text_of(admin_client.get(f"{LIST}{shown.pk}/change/"))
    assert "host old.example.com new.example.com" in page
    assert "note none moved" in page
    assert "password not recorded changed" in page
    assert "until not recorded 2026-11-30 10:00:00 UTC" in page
    assert "options not recorded dry_run yes" in page
    assert "groups not recorded a, b" in page


def test_nobody_changes_anything_here(admin_client: Client) -> None:
    shown = entry()
    page = f"{LIST}{shown.pk}/"
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.get(f"{page}delete/").status_code == 403
    assert admin_client.post(f"{page}change/", {"actor": "x"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [shown.pk], "post": "yes"}
    admin_client.post(LIST, chosen)
    assert Activity.objects.exclude(action="action.refused").get() == shown


def test_each_page_takes_its_permission(client: Client) -> None:
    shown = entry()
    client.force_login(staff())
    for page in (LIST, f"{LIST}{shown.pk}/change/"):
        assert client.get(page).status_code == 403
    assert client.post(EXPORT).status_code == 403
    assert not Activity.objects.filter(action="activity.exported").exists()


def test_an_export_is_what_the_list_shows_and_is_recorded(client: Client) -> None:
    entry(subject="=cmd()", after={"name": "Zoë"})
    entry(subject="other", actor="bob")
    viewer = may(staff("viewer"), "view_activity")
    client.force_login(viewer)
    header, *rows = exported(client.post(f"{EXPORT}?actor=ann&q="))
    assert [dict(zip(header, row, strict=True))["on what"] for row in rows] == ["'=cmd()"]
    assert rows[0][-1] == '{"name": "Zoë"}'
    made = Activity.objects.get(action="activity.exported")
    assert (made.actor, made.after) == ("viewer", {"filter": {"actor": "ann", "q": ""}})


def test_an_export_takes_a_button(admin_client: Client) -> None:
    assert admin_client.get(EXPORT).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = admin_client.cookies
    assert strict.post(EXPORT).status_code == 403


def test_the_button_says_what_it_will_bring(admin_client: Client) -> None:
    for _ in range(60):
        entry()
    entry("run.requested")
    page = admin_client.get(f"{LIST}?action=instance.disabled&p=2")
    assert "60 actions, as filtered here" in text_of(page)
    assert f'action="{EXPORT}?action=instance.disabled"' in page.content.decode()


def test_a_filter_that_makes_no_sense_exports_nothing(admin_client: Client) -> None:
    answer = admin_client.post(f"{EXPORT}?nonsense=1")
    assert answer.status_code == 400


def rows_read(sql: str) -> int:
    """How many rows of the record the server looks at for an answer."""

    def of(node: dict[str, Any]) -> int:
        looked = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        own = int(looked * node["Actual Loops"]) if "Scan" in node["Node Type"] else 0
        return own + sum(of(part) for part in node.get("Plans", ()))

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        return of(cursor.fetchone()[0][0]["Plan"])


LONG = (
    *("", "action=run.requested", "actor=person7", "since=7", "q=rds1", "q=nobody", "p=200"),
    *("of=tenants.rdsinstance:7", "actor=person7&since=30&q=rds", "at_from=2001-01-01"),
)


def test_a_long_record_opens_in_few_queries_that_read_little(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    many_entries(100_000)
    for query in LONG:
        with django_assert_max_num_queries(9), CaptureQueriesContext(connection) as queries:
            admin_client.get(f"{LIST}?{query}")
        reads = [read["sql"] for read in queries if 'FROM "activity"' in read["sql"]]
        assert reads
        assert not [(sql, rows) for sql in reads if (rows := rows_read(sql)) > 40_000]


def test_the_history_of_an_object_is_what_people_did_to_it(admin_client: Client) -> None:
    instance = instance_row(3)
    entry(subject=str(instance))
    entry(subject="another", subject_id="4")
    page = admin_client.get(f"/admin/tenants/rdsinstance/{instance.pk}/history/", follow=True)
    assert page.redirect_chain == [(f"{LIST}?of=tenants.rdsinstance%3A3", 302)]
    assert [row.subject for row in page.context["cl"].result_list] == [str(instance)]
    assert f'href="/admin/tenants/rdsinstance/{instance.pk}/history/"' in (
        admin_client.get(f"/admin/tenants/rdsinstance/{instance.pk}/change/").content.decode()
    )


def test_history_is_offered_to_those_who_may_see_it(client: Client) -> None:
    instance = instance_row(3)
    viewer = may(staff("viewer"), "view_rdsinstance")
    client.force_login(viewer)
    link = f"/admin/tenants/rdsinstance/{instance.pk}/history/"
    page = f"/admin/tenants/rdsinstance/{instance.pk}/change/"
    assert link not in client.get(page).content.decode()
    assert client.get(link, follow=True).status_code == 403
    may(viewer, "view_activity")
    assert link in client.get(page).content.decode()
