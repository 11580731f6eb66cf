"""A page about something on an instance that can't be read says so on top, with the age of that."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from common import markup
from common.markup import Tone
from syncs.models import Confirmation, Heartbeat
from tenants.models import GhostUser, InstanceCheck, RdsInstance, Tenant, UserRoute
from tenants.models.ghost import GhostState
from tenants.models.instance import Health
from tests.pages import text_of
from tests.rows import confirmation, instance_row, staff, support_session
from tests.syncs.plans import default_schedules

MAIL = "ann@example.com"
JUST_NOW = timedelta(seconds=20)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def green() -> None:
    """Ann's account and ghost user on instance 2, of which every sync confirmed all lately."""
    now = timezone.now()
    for number in (1, 2):
        instance_row(number, is_master=number == 1, health="healthy", last_check_at=now - JUST_NOW)
        for sync in ("instance_health", "tenant_summaries", "ghost_users"):
            confirmation(sync, str(number), ago=JUST_NOW)
    confirmation("user_routing", "1", ago=JUST_NOW)
    default_schedules()
    Heartbeat.objects.create(worker="host:1", at=now)
    ann = staff("ann", is_superuser=True)
    Tenant.objects.create(
        instance_id=2, remote_id="8", name="Acme", status="active", cache_refreshed_at=now
    )
    UserRoute.objects.create(
        source_id="1",
        email=MAIL,
        email_key=MAIL,
        remote_instance_id="2",
        on_master=False,
        remote_tenant_id="8",
        remote_user_id="80",
        status="Active",
        changed_at=now,
    )
    GhostUser.objects.create(
        admin_id=ann.pk,
        instance_id=2,
        wanted=GhostState.ACTIVE,
        confirmed=GhostState.ACTIVE,
        confirmed_at=now - JUST_NOW,
    )


def fail(health: Health, number: int = 2) -> None:
    now = timezone.now()
    RdsInstance.objects.filter(pk=number).update(health=health, last_check_at=now - JUST_NOW)
    for ago in (1, 2):
        minute = (now - timedelta(minutes=ago)).replace(second=0, microsecond=0)
        InstanceCheck.objects.create(instance_id=number, minute=minute, health=health)


def test_what_an_instance_that_is_down_confirmed_has_its_age(admin_client: Client) -> None:
    """Its ghost users and its tenants, as they were then."""
    hours = timezone.now() - timedelta(hours=3)
    GhostUser.objects.update(confirmed_at=hours)
    Confirmation.objects.filter(target="2").update(at=hours)
    fail(Health.DOWN)
    shown = text_of(admin_client.get("/admin/tenants/rdsinstance/2/change/"))
    assert "admins who should enter can, as it was confirmed 3 h ago" in shown
    assert re.search("As read 3 h ago : .*active 1", shown)


def tenant() -> str:
    return f"/admin/tenants/tenant/{Tenant.objects.get().pk}/change/"


def route() -> str:
    return f"/admin/tenants/userroute/{UserRoute.objects.get().pk}/change/"


def ghost() -> str:
    return f"/admin/tenants/ghostuser/{GhostUser.objects.get().pk}/change/"


def find() -> str:
    return f"/admin/find/?q={MAIL}"


def find_tenant() -> str:
    return "/admin/find/?q=2:8"


def support() -> str:
    return f"/admin/tenants/supportsession/{support_session(instance_id=2).pk}/change/"


PAGES = (tenant, route, ghost, find, find_tenant, support)


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_said_of_one_that_answers(client: Client, page: Callable[[], str]) -> None:
    client.force_login(staff("bob", is_superuser=True))
    shown = text_of(client.get(page()))
    assert "is from before" not in shown
    assert "is unknown" not in shown


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (Health.DOWN, "Instance 2 (rds2) has been down since"),
        (Health.REFUSED, "Instance 2 (rds2) is up and refuses RAINBO's credentials, nothing has"),
    ],
)
@pytest.mark.parametrize("page", PAGES)
def test_the_page_says_so_on_top(
    client: Client, page: Callable[[], str], health: Health, words: str
) -> None:
    fail(health)
    client.force_login(staff("bob", is_superuser=True))
    answer = client.get(page())
    shown = text_of(answer)
    assert re.search(
        rf"{re.escape(words)}.*? \(checked 2\d s ago\)\. What is shown of it is from before\.",
        shown,
    )
    html = answer.content.decode().partition('id="main"')[2]
    notice = html.index("What is shown of it is from before")
    assert 'href="/admin/tenants/rdsinstance/2/change/"' in html[notice : notice + 200]
    others = ("<h2", "<fieldset", "<table", 'class="badge')
    assert notice < min(html.find(other) % len(html) for other in others)


@pytest.mark.parametrize("page", [route, find])
def test_routes_depend_on_the_master_too(client: Client, page: Callable[[], str]) -> None:
    fail(Health.DOWN, 1)
    client.force_login(staff("bob", is_superuser=True))
    assert "Instance 1 (rds1), the master, has been down since" in text_of(client.get(page()))


@pytest.mark.parametrize("page", PAGES)
def test_an_old_check_says_nothing_of_now(client: Client, page: Callable[[], str]) -> None:
    RdsInstance.objects.update(last_check_at=timezone.now() - timedelta(days=3))
    client.force_login(staff("bob", is_superuser=True))
    assert (
        "Instance 2 (rds2) was healthy when it was last checked, 3 d ago: how it is now is unknown."
    ) in text_of(client.get(page()))


def test_the_state_of_a_tenant_stands_next_to_that_of_its_instance(client: Client) -> None:
    fail(Health.DOWN)
    client.force_login(staff("bob", is_superuser=True))
    shown = text_of(client.get(tenant()))
    assert re.search(
        r"Tenant 8 on instance 2 \(rds2\) down checked 2\d s ago active on time", shown
    )
    assert re.search(r"last seen .*instance 2 \(rds2\): down checked 2\d s ago", shown)


@pytest.mark.parametrize("way", ["tenant", "userroute", "ghostuser/all"])
def test_rows_of_lists_are_marked(client: Client, way: str) -> None:
    client.force_login(staff("bob", is_superuser=True))
    address = f"/admin/tenants/{way}/"
    assert not re.search(r"\(?rds2\)? down", text_of(client.get(address)))
    fail(Health.DOWN)
    assert re.search(r"\(?rds2\)? down", text_of(client.get(address)))


def test_who_may_not_see_instances_is_not_led_there(
    client: Client, person: Callable[..., object]
) -> None:
    fail(Health.DOWN)
    person("view_tenant", name="billing")
    answer = client.get(tenant())
    assert "has been down since" in text_of(answer)
    assert "rdsinstance/2/" not in answer.content.decode()


def test_the_command_says_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    fail(Health.DOWN)
    call_command("find_user", MAIL)
    out = capsys.readouterr().out
    assert out.startswith("Instance 2 (rds2) has been down since ")
    assert re.search(r"\n  instance 2 \(rds2\), down, checked 2\d s ago: tenant 8 ", out)


def test_the_instances_page_does_not_call_an_old_check_healthy(client: Client) -> None:
    client.force_login(staff("bob", is_superuser=True))
    page = "/admin/tenants/rdsinstance/2/change/"
    assert 'badge-good">healthy' in client.get(page).content.decode()
    RdsInstance.objects.update(last_check_at=timezone.now() - timedelta(days=3))
    html = client.get(page).content.decode()
    assert 'badge-quiet">healthy' in html
    assert 'badge-good">healthy' not in html


def test_an_instance_that_is_found_is_not_green_by_an_old_check(admin_client: Client) -> None:
    at = timezone.now() - timedelta(hours=3)
    RdsInstance.objects.filter(pk=2).update(last_check_at=at)
    page = admin_client.get("/admin/find/?q=rds2")
    (found,) = [kind for kind in page.context["kinds"] if kind.key == "instances"]
    health = dict(found.rows[0])["health"]
    assert markup.badge(Health.HEALTHY, Tone.QUIET) in health
    assert "3 h" in health
