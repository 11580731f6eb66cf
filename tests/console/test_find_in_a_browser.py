"""Finding an e-mail as a person at a keyboard does, in Chromium, with real servers behind it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from activity.models import Activity
from tests import seeds
from tests.caches import register, run_sync
from tests.console import accessibility
from tests.console.browser import NARROW, WIDE, Window
from tests.console.conftest import Enter
from tests.instances import InstanceFleet
from tests.rows import staff

PAGE, RUNS, MAIL = "/admin/find/", "/admin/syncs/syncrun/", "ann@example.com"
FOCUSED = "() => document.activeElement.matches('[data-find]')"
TYPED = "() => document.activeElement.value"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.fixture
def directory(fleet: InstanceFleet, transactional_db: None) -> InstanceFleet:
    """Ann has an account on the master and on instance 2, where somebody renamed her."""
    for instance in fleet.instances:
        register(instance)
    fleet.master.add_tenant(7, "Acme")
    fleet[2].add_tenant(8, "Beacon Opticians")
    fleet.master.add_route(1, MAIL, 7, user_id=70, user_name="Ann")
    fleet.master.add_route(2, MAIL, 8, 2, user_id=80, user_name="Ann")
    fleet.master.add_user(70, 7, MAIL, name="Ann")
    fleet[2].add_user(80, 8, MAIL, name="Anna")
    run_sync("user_routing")
    run_sync("tenant_summaries")
    return fleet


def asked(window: Window) -> str:
    """What the address asks for."""
    return parse_qs(urlsplit(window.url).query).get("q", [""])[0]


def send(window: Window, key: str = "Enter") -> None:
    """Press a key that leads to another page."""

    def work(page: object) -> None:
        with page.expect_navigation():  # type: ignore[attr-defined]
            page.keyboard.press(key)  # type: ignore[attr-defined]

    window.do(work)


def test_an_email_is_found_from_any_page_by_keyboard_alone(
    directory: InstanceFleet, window: Window
) -> None:
    window.open("/admin/")
    window.press("/")
    window.wait_for(FOCUSED)
    window.type(MAIL)
    send(window)
    assert (window.path, asked(window)) == (PAGE, MAIL)
    assert f"{MAIL}: 2 accounts in 2 tenants on 2 instances." in window.text()
    window.press("/")
    assert window.script("() => [document.activeElement.id, getSelection().toString()]") == [
        "find-q",
        MAIL,
    ]
    window.type("beacon")
    send(window)
    assert "Beacon Opticians 2:8 instance 2 (rds2)" in window.text()
    window.do(lambda page: page.locator("main a, [role=main] a", has_text="Beacon").focus())
    send(window)
    assert window.path.startswith("/admin/tenants/tenant/")


FOCUS = "() => document.activeElement.id || document.activeElement.textContent.trim()"
CLIPBOARD = "() => navigator.clipboard.readText()"


def press_copy(window: Window, name: str) -> None:
    window.do(lambda page: page.click(f"[aria-label='{name}']"))


def test_results_are_gone_through_by_arrows_and_copied(
    directory: InstanceFleet, window: Window
) -> None:
    window.open(f"{PAGE}?q=ann")
    window.do(lambda page: page.focus("#find-q"))
    seen = []
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowUp"):
        window.press(key)
        seen.append(window.script(FOCUS))
    assert seen == [MAIL, MAIL, MAIL, MAIL, "find-q", "find-q"]
    window.press("ArrowDown")
    send(window)
    assert asked(window) == MAIL
    window.do(lambda page: page.context.grant_permissions(["clipboard-read", "clipboard-write"]))
    for name, copied in ((f"Copy {MAIL}", MAIL), ("Copy 70", "70")):
        press_copy(window, name)
        window.wait_for("() => document.querySelector('.copy[data-state=done]')")
        assert window.script(CLIPBOARD) == copied
    command = "python manage.py find_user --live ann@example.com"
    assert window.is_shown(f"[aria-label='Copy {command}']")
    assert list(accessibility.complaints(window)) == []


def test_the_fleet_is_asked_and_shows_what_differs(
    directory: InstanceFleet, window: Window
) -> None:
    window.open(f"{PAGE}?q={MAIL}")
    window.do(lambda page: page.focus("#find-live + form button"))
    send(window)
    assert asked(window) == MAIL
    text = window.text()
    assert "1 of 2 accounts differs." in text
    assert "Name is Ann on the master and Anna on instance 2 (rds2)." in text
    marked = "() => [...document.querySelectorAll('.differs th')].map(e => e.textContent.trim())"
    assert window.script(marked) == ["name"]
    assert not window.is_shown(".compared details table")
    assert Activity.objects.filter(action="email.looked_up_live").count() == 1
    assert list(accessibility.complaints(window)) == []


def test_who_is_not_found_is_said_why_and_asked_for(
    directory: InstanceFleet, window: Window
) -> None:
    directory.master.add_route(3, "new@example.com", 7, user_id=71)
    window.open(f"{PAGE}?q=new@example.com")
    assert "No account." in window.text()
    assert "No sync has ever seen it." in window.text()
    window.click("#find-live + form button")
    assert "No account in the cache, but found live." in window.text()


@pytest.mark.parametrize("page", ["/admin/", RUNS, "/admin/tenants/tenant/", f"{RUNS}1/change/"])
def test_the_key_goes_to_the_search_from_every_page(page: str, window: Window) -> None:
    seeds.fill(seeds.SMALL)
    window.open(page)
    window.press("/")
    window.wait_for(FOCUSED)
    assert window.script(TYPED) == ""


def test_the_key_types_where_something_is_typed(window: Window) -> None:
    window.open("/admin/tenants/userroute/")
    window.do(lambda page: page.focus("#searchbar"))
    window.press("a", "/", "b")
    assert window.script("() => [document.activeElement.id, document.activeElement.value]") == [
        "searchbar",
        "a/b",
    ]
    window.open(PAGE)
    window.wait_for(FOCUSED)
    window.press("/")
    assert window.script(TYPED) == "/"


@pytest.mark.parametrize("keys", ["Control+/", "Alt+/", "Control+k"])
def test_no_other_key_does_anything(window: Window, keys: str) -> None:
    window.open("/admin/")
    window.press(keys)
    assert not window.script(FOCUSED)
    assert not window.is_shown("[placeholder='Type to search']")


def test_without_room_for_a_field_the_key_and_the_link_lead_to_the_page(window: Window) -> None:
    window.look(NARROW, "light")
    window.open("/admin/")
    assert not window.is_shown("[data-find]")
    assert window.is_shown(".find-link")
    send(window, "/")
    assert window.path == PAGE
    window.wait_for(FOCUSED)
    window.look(WIDE, "light")
    assert not window.is_shown(".find-field")


def test_who_may_not_find_has_no_field_and_the_key_does_nothing(enter: Enter) -> None:
    window = enter(staff())
    window.open("/admin/")
    window.press("/")
    assert window.path == "/admin/"
    assert not window.is_shown("[data-find], .find-link")


def test_an_empty_question_stays_on_the_page(window: Window) -> None:
    window.open(PAGE)
    window.wait_for(FOCUSED)
    send(window)
    assert window.path == PAGE
    assert "What you can find" in window.text()


def test_hostile_text_comes_back_as_text(window: Window) -> None:
    window.open(PAGE)
    for text in ("<img src=x onerror=alert(1)>", "%_\\", "\u212aim@example.com", "'\"&"):
        window.fill("#find-q", text)
        window.click(".find-form button")
        assert window.do(lambda page: page.input_value("#find-q")) == text
        assert f"{text}: No account." in window.text()
    window.fill("#find-q", "x" * 10_000)
    window.click(".find-form button")
    assert f"{'x' * 1_000}: No account." in window.text()
    window.open(f"{PAGE}?q={'x' * 3_000}")
    assert "longer than 1,000 characters" in window.text()
