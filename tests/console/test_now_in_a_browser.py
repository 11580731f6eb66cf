"""The first page as it refreshes itself under a person's hands, in Chromium."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from syncs.dispatch import reconcile
from syncs.models import Confirmation, Heartbeat, RunState, SyncRun
from tenants.models import RdsInstance
from tenants.models.instance import Health
from tests.console.browser import LIGHT, NARROW, Window
from tests.integrations.rows import connection
from tests.rainbo import fleets
from tests.rows import ended_run

PAGE, PART = "/admin/", "**/admin/now/**"
EVERY = 5_000  # milliseconds between refreshes
FOCUSED = "() => document.activeElement.getAttribute('href')"
STATUS, REFRESHED = "#live-status", "#live-refreshed"
FEW, MANY = 3, 40

pytestmark = pytest.mark.django_db(transaction=True)


def at(window: Window, instances: int = FEW) -> Window:
    """The page of a healthy fleet, on a clock that only the test moves on."""
    fleets.write(instances, 400)
    reconcile.reconcile()
    Heartbeat.objects.create(worker="host:1", at=timezone.now())
    window.do(lambda page: page.clock.install())
    window.open(PAGE)
    return window


def refresh(window: Window) -> None:
    window.let_refresh(PART, EVERY)


def message(window: Window, selector: str) -> str:
    return window.do(lambda page: page.inner_text(selector))


def lost(number: int) -> None:
    RdsInstance.objects.filter(pk=number).update(health=Health.DOWN, last_error="refused")


def test_a_refresh_keeps_focus_and_scroll(window: Window) -> None:
    at(window, MANY)
    window.do(lambda page: page.locator("#sync-user_routing th a").focus())
    window.script("() => scrollTo(0, 400)")
    before = window.script(FOCUSED)
    run = ended_run(state=RunState.FAILED, seconds=33)
    refresh(window)
    window.wait_for(f"""() => document.querySelector(".bar[title^='run {run.pk} failed']")""")
    assert before == "/admin/syncs/syncrun/?sync=user_routing"
    assert (window.script(FOCUSED), window.script("() => scrollY")) == (before, 400)


def test_all_of_a_usual_fleet_is_seen_at_a_glance(window: Window) -> None:
    """Four syncs, the services in one row, twelve instances; one row of about 40 px a sync."""
    for service in ("github", "llm_models"):
        row = connection(service=service)
        Confirmation.objects.create(sync=service, target=row.key, at=timezone.now(), rows=1)
        for _ in range(3):
            ended_run(service)
    at(window, 12)
    window.do(lambda page: page.set_viewport_size({"width": 1280, "height": 800}))
    assert window.script("() => document.querySelectorAll('.now-syncs tbody').length") == 5
    assert window.script("() => document.querySelectorAll('.instance-card').length") == 12
    rows = "() => [...document.querySelectorAll('.now-syncs tbody tr')].map(r => r.offsetHeight)"
    assert [height for height in window.script(rows) if height > 44] == []
    assert window.script("() => document.scrollingElement.scrollHeight") <= 800


def test_a_strip_stays_on_one_line_on_a_phone(window: Window) -> None:
    at(window)
    window.look(NARROW, LIGHT)
    tops = """() => new Set([...document.querySelectorAll('#sync-user_routing .bar')]
        .map(bar => bar.getBoundingClientRect().top)).size"""
    assert window.script(tops) == 1
    assert window.script("() => document.scrollingElement.scrollWidth <= innerWidth")


def test_a_tile_that_moves_keeps_its_focus(window: Window) -> None:
    at(window)
    window.do(lambda page: page.locator(".instance-card a").last.focus())
    before = window.script(FOCUSED)
    lost(FEW)
    refresh(window)
    window.wait_for("() => document.querySelector('.instance-card .badge-bad')")
    assert (
        window.do(lambda page: page.locator(".instance-card a").first.get_attribute("href"))
        == before
    )
    assert window.script(FOCUSED) == before
    assert message(window, "#live-news") == message(window, "#now-sentence")


def test_a_search_is_answered_as_it_is_typed_and_stays(window: Window) -> None:
    at(window, MANY)
    window.do(lambda page: page.focus("[name=instance]"))
    window.type("rds39")
    refresh(window)
    window.wait_for("() => document.querySelectorAll('.instance-card').length === 1")
    assert window.url.endswith("/admin/?instance=rds39")
    window.type("9")
    window.do(lambda page: page.clock.fast_forward(100))
    assert window.do(lambda page: page.input_value("[name=instance]")) == "rds399"
    assert window.script("() => document.activeElement.name") == "instance"
    window.open("/admin/?instance=rds39")
    assert window.do(lambda page: page.locator(".instance-card").count()) == 1


def test_it_can_be_paused(window: Window) -> None:
    at(window)
    window.do(lambda page: page.click("#live-pause"))
    lost(2)
    window.do(lambda page: page.clock.fast_forward(3 * EVERY))
    assert "All is on time" in message(window, "#now-sentence")
    assert message(window, STATUS) == "Refreshing is paused: what you see is as of then."
    window.do(lambda page: page.click("#live-pause"))
    window.wait_for("() => document.querySelector('.overall-status-bad')")
    assert message(window, STATUS) == ""


def test_it_says_since_when_the_server_does_not_answer(window: Window) -> None:
    at(window)
    since = message(window, REFRESHED)
    window.do(lambda page: page.context.set_offline(True))
    window.do(lambda page: page.clock.fast_forward(EVERY))
    said = f"The server has not answered since {since}: trying again."
    window.wait_for(f"() => document.querySelector('{STATUS}').textContent === '{said}'")
    window.do(lambda page: page.context.set_offline(False))
    window.complaints[:] = [c for c in window.complaints if "ERR_INTERNET_DISCONNECTED" not in c]
    refresh(window)
    window.wait_for(f"() => document.querySelector('{STATUS}').textContent.includes('again.')")
    assert message(window, STATUS) == "The server answers again."


def test_it_says_that_the_session_ended(window: Window) -> None:
    window.expects(401)
    at(window)
    Session.objects.all().delete()
    window.do(lambda page: page.clock.fast_forward(EVERY))
    window.wait_for(f"() => document.querySelector('{STATUS} a')")
    assert message(window, STATUS).startswith("Your session has ended")
    window.click(f"{STATUS} a")
    assert window.path == "/admin/login/"


def test_a_run_is_asked_for_from_the_menu_of_its_row(window: Window) -> None:
    at(window)
    menu, more = "#menu-user_routing", "#sync-user_routing .more"
    window.do(lambda page: page.focus(more))
    window.press("Enter")
    assert window.is_shown(f"{menu} button")
    refresh(window)
    assert window.is_shown(f"{menu} button")
    window.press("Escape")
    assert not window.is_shown(f"{menu} button")
    window.press("Enter", "Tab")
    assert window.script("() => document.activeElement.textContent") == "Run now"
    window.click(f"{menu} button")
    run = SyncRun.objects.get(state=RunState.QUEUED)
    assert window.path == f"/admin/syncs/syncrun/{run.pk}/change/"
    assert run.created_at > timezone.now() - timedelta(minutes=1)
