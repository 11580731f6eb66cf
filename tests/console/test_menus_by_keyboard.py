"""The theme's menus by keyboard alone, wide and on a small screen."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from tests.console.browser import LIGHT, NARROW, WIDE, Window
from tests.console.test_people_in_a_browser import with_answer
from tests.rows import ended_run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
READY = "() => document.querySelector('[role=button]')"
FOCUSED = """() => {
  const at = document.activeElement;
  const said = at.cloneNode(true);
  for (const picture of said.querySelectorAll('.material-symbols-outlined')) picture.remove();
  return at.ariaLabel || said.textContent.trim().replace(/\\s+/g, ' ');
}"""
UNREACHED = """() => [...document.querySelectorAll('[x-on\\\\:click]')]
  .filter((one) => one.checkVisibility() && one.tabIndex < 0 && one.childNodes.length)
  .map((one) => one.outerHTML)"""


def opened(window: Window, path: str, width: int) -> None:
    window.open(path)
    window.look(width, LIGHT)
    window.wait_for(READY)


def tab_to(window: Window, name: str) -> None:
    passed = []
    for _ in range(60):
        window.press("Tab")
        passed.append(window.script(FOCUSED))
        if passed[-1].startswith(name):
            return
    raise AssertionError(f"{name} is not among {passed}")


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_signing_out(window: Window, admin_user: User, width: int) -> None:
    opened(window, "/admin/tenants/tenant/", width)
    if width == NARROW:
        tab_to(window, "Menu")
        window.press("Enter")
    tab_to(window, f"Account: A {admin_user.username}")
    window.press("Enter")
    window.wait_for("() => document.activeElement.closest('nav[x-show=openUserLinks]')")
    tab_to(window, "Log out")
    with_answer(window, "Enter")
    assert not window.is_shown("#nav-sidebar-inner")
    window.open("/admin/tenants/tenant/")
    assert window.path == "/admin/login/"


@pytest.mark.parametrize("key", ["Enter", " "])
def test_another_page_on_a_small_screen(window: Window, key: str) -> None:
    opened(window, "/admin/tenants/tenant/", NARROW)
    tab_to(window, "Menu")
    window.press(key)
    window.wait_for("() => document.activeElement.ariaLabel === 'Close the menu'")
    tab_to(window, "Runs")
    with_answer(window, "Enter")
    assert window.path == "/admin/syncs/syncrun/"


def test_escape_closes_a_menu_and_leads_back(window: Window) -> None:
    opened(window, "/admin/tenants/tenant/", NARROW)
    tab_to(window, "Menu")
    assert window.script("() => document.activeElement.ariaExpanded") == "false"
    window.press("Enter")
    window.wait_for("() => document.activeElement.ariaLabel === 'Close the menu'")
    assert window.script("() => document.activeElement.ariaExpanded") == "true"
    window.press("Escape")
    window.wait_for("() => document.activeElement.ariaLabel === 'Menu'")
    assert not window.is_shown("#nav-sidebar-inner")


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_takes_the_mouse_only(window: Window, width: int) -> None:
    run = ended_run()
    for page in ("", "syncs/syncrun/", f"syncs/syncrun/{run.pk}/change/", "auth/user/add/"):
        opened(window, f"/admin/{page}", width)
        assert window.script(UNREACHED) == [], page
