"""Pages of other apps link to the open incidents that they have to do with, in one query."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerts import queries
from alerts.models import Incident
from syncs.models import RunState, SyncRun, SyncSchedule
from syncs.status.problems import Link, Severity
from tenants.models import Tenant
from tests.alerts.rows import HOUR, NOW, problem, see
from tests.integrations.rows import connection as service
from tests.rows import ended_run, instance_row
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db


def titles(client: Client, url: str) -> set[str]:
    """The keys of the incidents that the page links to."""
    answer = client.get(url)
    assert answer.status_code == 200
    text = answer.content.decode()
    rows = Incident.objects.all()
    return {row.key for row in rows if f"/admin/alerts/incident/{row.pk}/change/" in text}


def test_each_page_links_to_what_concerns_it_and_to_nothing_else(admin_client: Client) -> None:
    default_schedules()
    one, two = instance_row(1), instance_row(2)
    tenant = Tenant.objects.create(
        instance=two, remote_id="17", name="Acme", status="active", cache_refreshed_at=NOW
    )
    before = ended_run(state=RunState.FAILED)
    SyncRun.objects.update(finished_at=NOW - HOUR)
    during = ended_run(state=RunState.FAILED)
    SyncRun.objects.filter(pk=during.pk).update(finished_at=NOW + HOUR)
    other = ended_run("ghost_users", RunState.HELD)
    row = service()
    see(
        problem("instance/2/down", affected=("2",)),
        problem("instance/22/down", affected=("22",)),
        problem("sync/user_routing/overdue", Severity.STALE, ("1", "2")),
        problem("sync/user_routing_old/overdue", Severity.STALE, ("3",)),
        problem("sync/ghost_users/held", Severity.HELD, ("1",), link=Link("run", str(other.pk))),
        problem("connections/github/reconnect", Severity.RECONNECT_NEEDED, (row.key,)),
    )
    stale, held, down = "sync/user_routing/overdue", "sync/ghost_users/held", "instance/2/down"
    plan = SyncSchedule.objects.get(sync="user_routing").pk
    pages = {
        f"tenants/rdsinstance/{one.pk}": {stale, held},
        f"tenants/rdsinstance/{two.pk}": {stale, down},
        f"tenants/tenant/{tenant.pk}": {stale, down},
        f"syncs/syncschedule/{plan}": {stale},
        f"syncs/syncrun/{before.pk}": set(),
        f"syncs/syncrun/{during.pk}": {stale},
        f"syncs/syncrun/{other.pk}": {held},
        f"integrations/connection/{row.pk}": {"connections/github/reconnect"},
    }
    found = {page: titles(admin_client, f"/admin/{page}/change/") for page in pages}
    assert found == pages
    see(at=NOW + HOUR)
    assert not titles(admin_client, f"/admin/tenants/rdsinstance/{two.pk}/change/")


def test_it_is_one_query_and_the_loudest_come_first() -> None:
    many = [problem(f"instance/{n}/down", affected=("1", str(n))) for n in range(2, 9)]
    see(problem("instance/1/degraded", Severity.DEGRADED, ("1",)), *many)
    with CaptureQueriesContext(connection) as asked:
        found = queries.open_about(target="1")
    assert len(asked) == 1
    assert len(found) == 8
    assert found[-1].key == "instance/1/degraded"
    assert queries.open_about() == []


def test_a_page_shows_some_and_how_many_more(admin_client: Client) -> None:
    instance_row(1)
    see(*(problem(f"instance/{n}/down", affected=("1",)) for n in range(2, 9)))
    text = admin_client.get("/admin/tenants/rdsinstance/1/change/").content.decode()
    assert text.count("Open alert: ") == 5
    assert "2 more</a>" in text


def test_who_may_not_view_incidents_sees_none(client: Client) -> None:
    instance_row(1)
    see(problem("instance/1/down", affected=("1",)))
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_rdsinstance"))
    client.force_login(user)
    text = client.get("/admin/tenants/rdsinstance/1/change/").content.decode()
    assert "Open alert" not in text
