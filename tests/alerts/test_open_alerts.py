"""Pages of other apps link to the open incidents that they have to do with, in one query."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerts import queries
from alerts.models import Incident, Level
from api import tokens
from syncs.models import RunState, SyncRun, SyncSchedule
from syncs.status.problems import Link, Severity
from tenants.models import GhostUser, Tenant
from tests.alerts.rows import HOUR, NOW, channel, problem, see
from tests.integrations.rows import connection as service
from tests.rows import ended_run, instance_row, support_session
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db
KINDS = ("channel", "token", "support session", "run", "connection", "instance")


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
    session = support_session(instance_id=3)
    token = tokens.create("ci", ["syncs:read"], "ann").token
    ghost = GhostUser.objects.create(admin_id=990, instance=two, wanted="active")
    broken = channel("broken", level=Level.URGENT)
    queued = SyncRun.objects.create(sync="tenant_summaries", trigger="api")
    see(
        problem("workers", Severity.WORKERS_DEAD, (), link=Link("worker")),
        problem("master/missing", affected=(), cause="no master", link=Link("fleet")),
        problem("ghosts/leavers", Severity.LEAVER_CAN_ENTER, ("1",), link=Link("ghosts")),
        problem(f"token/{token.pk}", affected=(), link=Link("token", str(token.pk))),
        problem("support/x", affected=(), link=Link("support session", str(session.pk))),
        problem("support/person", affected=(), link=Link("support")),
        problem("outbox", Severity.CHANNEL_FAILING, (), link=Link("channels")),
        problem("channel/x", Severity.CHANNEL_FAILING, (), link=Link("channel", str(broken.pk))),
        *(problem(f"other/{kind}", affected=(), link=Link(kind, "999")) for kind in KINDS),
        problem("search-keys", Severity.FAILING, (), link=Link("sync", "user_routing")),
        problem("instance/2/down", affected=("2",), link=Link("instance", "2")),
        problem("instance/22/down", affected=("22",), link=Link("instance", "22")),
        problem("sync/user_routing/overdue", Severity.STALE, ("1", "2"), link=Link("sync", "x")),
        problem("sync/user_routing_old/overdue", Severity.STALE, ("3",), link=Link("sync", "x")),
        problem("sync/ghost_users/held", Severity.HELD, ("1",), link=Link("run", str(other.pk))),
        problem(
            "connections/github/reconnect",
            Severity.RECONNECT_NEEDED,
            (row.key,),
            link=Link("connection", str(row.pk)),
        ),
    )
    stale, held, down = "sync/user_routing/overdue", "sync/ghost_users/held", "instance/2/down"
    plan = SyncSchedule.objects.get(sync="user_routing").pk
    change = "change/"
    pages = {
        f"tenants/rdsinstance/{one.pk}/{change}": {stale, held, "ghosts/leavers"},
        f"tenants/rdsinstance/{two.pk}/{change}": {stale, down},
        "tenants/rdsinstance/": {"master/missing"},
        f"tenants/tenant/{tenant.pk}/{change}": {stale, down},
        f"syncs/syncschedule/{plan}/{change}": {stale, "workers", "search-keys"},
        f"syncs/syncrun/{before.pk}/{change}": set(),
        f"syncs/syncrun/{during.pk}/{change}": {stale},
        f"syncs/syncrun/{other.pk}/{change}": {held},
        f"syncs/syncrun/{queued.pk}/{change}": {"workers"},
        f"integrations/connection/{row.pk}/{change}": {"connections/github/reconnect"},
        "tenants/ghostuser/": {"ghosts/leavers"},
        f"tenants/ghostuser/{ghost.pk}/{change}": {stale, down},
        "tenants/supportsession/": {"support/person"},
        f"tenants/supportsession/{session.pk}/{change}": {"support/x"},
        f"api/apitoken/{token.pk}/{change}": {f"token/{token.pk}"},
        "alerts/channel/": {"outbox"},
        f"alerts/channel/{broken.pk}/{change}": {"channel/x"},
    }
    found = {page: titles(admin_client, f"/admin/{page}") for page in pages}
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
