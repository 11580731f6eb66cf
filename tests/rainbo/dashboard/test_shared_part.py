"""The first page's part is made once for those who see the same, and for nobody else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from common import shared
from common.refreshing import REFRESH
from rainbo.dashboard import views
from syncs.models import Confirmation, Heartbeat
from tenants.models import RdsInstance
from tests.rainbo import fleets
from tests.rows import ended_run, staff
from tests.syncs.plans import default_schedules

pytestmark = [
    pytest.mark.django_db(transaction=True),  # each change in a transaction of its own
    pytest.mark.usefixtures("shared_for_a_minute"),
]
ALL, RUNS, INSTANCES = "everything", "syncs.view_syncrun", "tenants.view_rdsinstance"
SAYS = {RUNS: 'id="now-syncs"', INSTANCES: 'id="now-fleet"'}


@pytest.fixture(autouse=True)
def _fleet() -> None:
    fleets.write(3, 120)
    default_schedules()
    Heartbeat.objects.create(worker="host:1", at=timezone.now())


def allowed(name: str, *permissions: str) -> User:
    user = staff(name)
    for app, _, codename in (permission.partition(".") for permission in permissions):
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return user


def signed_in(user: User) -> Client:
    client = Client(headers={REFRESH: "1"})
    client.force_login(user)
    return client


def poll(client: Client, tag: str = "", **query: str) -> Any:
    return client.get("/admin/now/", query, headers={"If-None-Match": tag} if tag else {})


def body(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


def statements(client: Client) -> int:
    with CaptureQueriesContext(connection) as asked:
        body(poll(client))
    return len(asked)


@pytest.mark.parametrize("first", [ALL, RUNS, INSTANCES])
def test_nobody_sees_what_another_may(first: str, admin_user: User) -> None:
    """Whoever comes first, what was made for them is shown to nobody with other permissions."""
    people = {
        ALL: signed_in(admin_user),
        RUNS: signed_in(allowed("runs", RUNS)),
        INSTANCES: signed_in(allowed("instances", INSTANCES)),
        "nothing": signed_in(allowed("nobody")),
    }
    poll(people[first])
    for may, client in people.items():
        page = body(poll(client))
        for needed, said in SAYS.items():
            assert (said in page) is (may in (ALL, needed)), (may, needed)
        assert ("Run now" in page) is (may == ALL)


def test_a_permission_that_was_taken_away_is_gone_at_once(admin_user: User) -> None:
    user = allowed("ann", RUNS)
    client = signed_in(user)
    assert SAYS[RUNS] in body(poll(client))
    user.user_permissions.clear()
    assert SAYS[RUNS] not in body(poll(client))


def test_people_with_the_same_permissions_share_it() -> None:
    ann, ben = (signed_in(allowed(name, RUNS, INSTANCES)) for name in ("ann", "ben"))
    first = statements(ann)
    assert statements(ben) < first / 2
    assert body(poll(ann)) == body(poll(ben))


def test_it_holds_nothing_of_a_person() -> None:
    page = body(poll(signed_in(allowed("quixotic", RUNS, INSTANCES, "syncs.run_sync"))))
    assert "Run now" in page
    assert "quixotic" not in page
    assert "csrfmiddlewaretoken" not in page


def test_each_time_zone_and_search_has_its_own(admin_client: Client) -> None:
    admin_client.defaults["HTTP_X_RAINBO_REFRESH"] = "1"
    utc = body(poll(admin_client))
    admin_client.cookies["rainbo_zone"] = "Asia/Tokyo"
    assert "JST" in body(poll(admin_client))
    assert "JST" not in utc


def test_a_search_is_not_shown_to_others(admin_client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr("rainbo.dashboard.instance_cards.MOST_CARDS", 2)
    admin_client.defaults["HTTP_X_RAINBO_REFRESH"] = "1"
    assert body(poll(admin_client, instance="2")).count('class="instance-card"') == 1
    assert body(poll(admin_client)).count('class="instance-card"') == 3


def test_it_is_made_again_when_anything_was_confirmed_or_changed(admin_client: Client) -> None:
    admin_client.defaults["HTTP_X_RAINBO_REFRESH"] = "1"
    seen = [body(poll(admin_client))]

    def is_new() -> bool:
        seen.append(body(poll(admin_client)))
        return seen[-1] != seen[-2]

    assert not is_new()
    Confirmation.objects.filter(sync="tenant_summaries").update(
        at=timezone.now() - timedelta(days=1)
    )
    assert is_new()
    ended_run("user_routing")
    assert is_new()
    RdsInstance.objects.filter(pk=2).update(name="elsewhere")
    assert is_new()
    assert "elsewhere" in seen[-1]


def test_what_is_the_same_is_answered_by_its_time_alone(admin_client: Client) -> None:
    admin_client.defaults["HTTP_X_RAINBO_REFRESH"] = "1"
    first = poll(admin_client)
    again = poll(admin_client, first["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]
    assert again[views.REFRESHED] in first.content.decode()
    assert "private" in again["Cache-Control"]
    RdsInstance.objects.filter(pk=2).update(name="elsewhere")
    changed = poll(admin_client, first["ETag"])
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


def test_the_tag_of_a_part_does_not_open_another_persons(admin_client: Client) -> None:
    admin_client.defaults["HTTP_X_RAINBO_REFRESH"] = "1"
    tag = poll(admin_client)["ETag"]
    other = poll(signed_in(allowed("nobody")), tag)
    assert other.status_code == 200
    assert other["ETag"] != tag


def test_the_whole_page_carries_the_tag_of_its_part(admin_client: Client) -> None:
    page = admin_client.get("/admin/").content.decode()
    admin_client.defaults["HTTP_X_RAINBO_REFRESH"] = "1"
    tag = poll(admin_client)["ETag"].strip('"')
    assert f'data-tag="&quot;{tag}&quot;"' in page


def test_nothing_is_kept_for_longer_than_a_second(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin_client.defaults["HTTP_X_RAINBO_REFRESH"] = "1"
    few, many = statements(admin_client), 0
    few = statements(admin_client)
    monkeypatch.setattr(shared, "SECONDS", 0.0)
    many = statements(admin_client)
    assert few < many
