"""The first page as it refreshes itself under a person's hands, in Chromium."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from syncs.dispatch import reconcile
from syncs.models import Heartbeat, RunState, SyncRun
from tenants.models import RdsInstance
from tenants.models.instance import Health
from tests.console.browser import Window
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


def bar(run: SyncRun) -> str:
    return f".bar[href='/admin/syncs/syncrun/{run.pk}/change/']"


def test_a_refresh_keeps_focus_and_scroll(window: Window) -> None:
    at(window)
    window.do(lambda page: page.locator("#sync-user_routing .bar").last.focus())
    window.press("ArrowLeft", "ArrowLeft")
    window.script("() => scrollTo(0, 400)")
    before = window.script(FOCUSED)
    run = ended_run(state=RunState.FAILED, seconds=33)
    refresh(window)
    window.wait_for(f"""() => document.querySelector("{bar(run)}")""")
    assert before.startswith("/admin/syncs/syncrun/")
    assert (window.script(FOCUSED), window.script("() => scrollY")) == (before, 400)


def test_a_strip_is_one_stop_of_the_tab_key(window: Window) -> None:
    at(window)
    stops = "() => [...document.querySelectorAll('#sync-user_routing .bar')].map(b => b.tabIndex)"
    tab = window.script(stops)
    assert (tab[-1], sum(index == 0 for index in tab)) == (0, 1)
    window.do(lambda page: page.locator("#sync-user_routing .bar").last.focus())
    window.press("Home")
    assert window.script(stops)[0] == 0
    refresh(window)
    assert window.script(stops) == [0, *[-1] * (len(tab) - 1)]


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


def test_a_run_is_asked_for_from_its_row(window: Window) -> None:
    at(window)
    window.click("#sync-user_routing button")
    run = SyncRun.objects.get(state=RunState.QUEUED)
    assert window.path == f"/admin/syncs/syncrun/{run.pk}/change/"
    assert run.created_at > timezone.now() - timedelta(minutes=1)
