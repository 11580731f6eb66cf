"""A tenant's page under a person's hands, in Chromium, with real instances behind it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from syncs.models import RunState, SyncRun
from tenants.models import Tenant
from tests.caches import run_sync
from tests.console import accessibility
from tests.console.browser import DARK, NARROW, WIDE, Window
from tests.console.conftest import Enter
from tests.instances import InstanceFleet
from tests.rows import instance_row, staff
from tests.tenants.conftest import registered  # noqa: F401 (a fixture)

LIST = "/admin/tenants/tenant/"
LIVE, SYNC = "form[action*='/live/'] button", "form[action$='/sync/'] button"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme(registered: InstanceFleet) -> Tenant:  # noqa: F811
    """With more users than a page shows."""
    registered[2].add_tenant(17, "Acme Bakeries", primary_contact_email="bob@example.com")
    for number in range(30):
        registered.master.add_route(number, f"user{number:02}@example.com", 17, 2)
    run_sync("tenant_summaries")
    run_sync("user_routing")
    return Tenant.objects.get()


def message(window: Window, selector: str) -> str:
    found: str = window.do(lambda page: page.inner_text(selector))
    return " ".join(found.split())


CUT = """() => {
  const row = document.querySelector('#result_list tbody tr').getBoundingClientRect();
  return [row.right - innerWidth, document.querySelector('.field-called').clientWidth];
}"""


@pytest.mark.parametrize("name", ["Bakeries of the " * 12, "y" * 200])
def test_a_long_name_cuts_no_column(window: Window, name: str) -> None:
    times = dict.fromkeys(
        ("cache_refreshed_at", "trial_ends_at", "last_activity_at"), timezone.now()
    )
    counts = {"user_count": 1_234_567, "location_count": 123}
    Tenant.objects.create(
        instance=instance_row(1), remote_id="123456", name=name, status="trial", **times, **counts
    )
    window.open(LIST)
    beyond, width = window.script(CUT)
    assert beyond <= 0
    assert width >= 140


def test_a_tenant_is_found_read_live_and_synced(
    window: Window,
    acme: Tenant,
    registered: InstanceFleet,  # noqa: F811
) -> None:
    window.open(LIST)
    window.fill("#searchbar", "bak")
    window.do(lambda page: page.focus("#searchbar"))
    with_results = f"{LIST}?q=bak"
    window.do(lambda page: page.keyboard.press("Enter"))
    window.do(lambda page: page.wait_for_url(f"**{with_results}*"))
    window.click("#result_list tbody th a")
    assert window.path == f"{LIST}{acme.pk}/change/"

    registered[2].execute("UPDATE tenants SET status = 'suspended'")
    window.click(LIVE)
    assert "1 of 9 fields differs" in message(window, "[role=status].answer")
    assert "status active suspended differs" in message(window, "#tenant-fields ~ .wide")

    registered[2].server.stop()
    window.click(LIVE)
    assert "no answer" in message(window, "[role=status].answer")
    assert "instance 2 (rds2)" in message(window, "[role=status].answer")
    assert "Acme Bakeries" in message(window, "section:has(> #tenant-fields)")

    window.click(SYNC)
    run = SyncRun.objects.get(state=RunState.QUEUED)
    assert run.options == {"targets": ["2"], "force": True}
    assert window.path == f"/admin/syncs/syncrun/{run.pk}/change/"


def test_its_users_are_turned_over_by_keyboard(window: Window, acme: Tenant) -> None:
    window.open(f"{LIST}{acme.pk}/change/")
    assert "user29@example.com" not in window.text()
    for name in ("Next", "Previous"):
        window.do(lambda page, name=name: page.get_by_role("link", name=name).focus())  # type: ignore[misc]
        window.press("Enter")
        shown = "user29" if name == "Next" else "user01"
        window.wait_for(f"() => document.body.innerText.includes('{shown}@')")


def test_live_results_are_for_everyone(window: Window, acme: Tenant) -> None:
    window.open(f"{LIST}{acme.pk}/change/?after=5")
    window.click(LIVE)
    window.do(lambda page: page.click(".numbers summary"))
    assert list(accessibility.complaints(window)) == []


def test_live_results_fit_a_narrow_screen(window: Window, acme: Tenant) -> None:
    Tenant.objects.update(name="W" * 500, contact_email=f"{'x' * 300}@example.com")
    window.open(f"{LIST}{acme.pk}/change/")
    window.click(LIVE)
    assert "2 of 9 fields differ" in window.text()
    for width in (NARROW, WIDE):
        window.look(width, DARK)
        assert window.script(accessibility.SIDEWAYS) == []


def test_the_page_serves_whoever_may_only_look(enter: Enter, acme: Tenant) -> None:
    user = staff()
    user.groups.add(Group.objects.get(name="read_only"))
    window = enter(user)
    window.open(f"{LIST}{acme.pk}/change/")
    assert "user00@example.com" in window.text()
    assert not window.is_shown(LIVE)
    assert not window.is_shown(SYNC)
