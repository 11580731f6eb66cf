"""Entering a tenant in the demo as a person does, in Chromium: from Find to the end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localfleet.demo.state import State
from localfleet.folders import local_root, scratch_root
from tests.console.browser import Chromium, Window
from tests.console.conftest import chromium
from tests.localfleet.demo.test_demo import RunningDemo, _localfleet

__all__ = ["chromium"]

pytestmark = [pytest.mark.soak, pytest.mark.timeout(400)]
REASON = "Invoice 118 shows no VAT"


@pytest.fixture
def demo() -> Iterator[RunningDemo]:
    with scratch_root(local_root()) as folder, RunningDemo(folder / "demo").served() as running:
        yield running


def sign_in(window: Window, password: str, code: Callable[[], str]) -> None:
    """As the demo's user support, with the code that the demo prints."""
    window.open("/admin/")
    window.fill("[name=username]", "support")
    window.fill("[name=password]", password)
    window.click("form [type=submit]")
    window.fill("[name=code]", code())
    window.click("form:has([name=code]) [type=submit]")


def enter(window: Window, *, read_only: bool) -> None:
    """From a tenant's or an account's page: give a reason, press the button."""
    window.click("text=Enter as support")
    window.fill("[name=reason]", REASON)
    if not read_only:
        window.do(lambda page: page.uncheck("[name=read_only]"))
    window.click("button:has-text('Continue')")
    window.click("button:has-text('Enter as support')")


def trail(window: Window, wanted: str) -> str:
    """The newest session's page, once it shows what RAINBO learns within seconds."""
    deadline = time.monotonic() + 60
    while True:
        window.open("/admin/tenants/supportsession/")
        window.click("#result_list tbody tr:first-child th a, #result_list tbody tr:first-child a")
        if re.search(wanted, text := window.text(), re.IGNORECASE):
            return text
        assert time.monotonic() < deadline, text
        time.sleep(1)


def walk(chromium: Chromium, url: str, password: str, email: str, code: Callable[[], str]) -> None:
    window = Window(chromium, url)
    sign_in(window, password, code)
    window.open(f"/admin/find/?q={email}")
    window.click("a.link[href*='/admin/tenants/tenant/']")
    enter(window, read_only=True)
    assert re.search(r"127\.0\.0\.1:\d+/rds\d/tenants/\d+/$", window.url), window.url
    banner = window.do(lambda page: page.inner_text("#rainbo-support"))
    assert re.search(
        rf"Support session of support in tenant \d+, read-only, ends in \d+ min: {REASON}", banner
    )
    tenant_page = window.url
    window.expects(403)
    window.fill("#add-location [name=name]", "Depot")
    window.click("#add-location button")
    assert "read-only: nothing was changed" in window.text()
    assert window.is_shown("#rainbo-support")
    window.do(lambda page: page.goto(tenant_page))
    assert "Depot" not in window.text()
    window.click("text=Change the password")
    assert "no access to passwords" in window.text()
    window.click("#rainbo-support button")
    assert "The support session is over." in window.text()
    window.do(lambda page: page.goto(tenant_page.partition("tenants/")[0]))
    assert window.path.endswith("/sign-in")
    said = trail(window, r"the person[\s\S]*blocked\.get")
    steps = ("blocked.post", "403 /account/password", "request.get")
    for step in (REASON, "redeemed", "read only", *steps):
        assert step.lower() in said.lower(), said
    # Again, from the account, with changes allowed; RAINBO's own button ends it.
    window.open(f"/admin/tenants/userroute/?q={email}")
    window.click("#result_list a[href*='/admin/tenants/userroute/']")
    enter(window, read_only=False)
    window.fill("#add-location [name=name]", "Depot")
    window.click("#add-location button")
    assert "Depot" in window.text()
    tenant_page = window.url
    cookies = window.do(lambda page: page.context.cookies())
    assert {one["name"] for one in cookies} >= {"rainbo_support", "sessionid"}
    trail(window, "open")
    window.click("button:has-text('End this session')")
    window.do(lambda page: page.goto(tenant_page))
    assert "The support session is over." in window.text()
    said = trail(window, r"ended[\s\S]*location\.added")
    assert "support" in said
    for one in window.complaints:  # the application is another host on purpose, and alone is it
        assert re.match(r"asked another host: http://127\.0\.0\.1:\d+/rds\d/", one), one
    window.close()


def test_one_enters_from_find_and_leaves_again(demo: RunningDemo, chromium: Chromium) -> None:
    def code() -> str:
        done = _localfleet("code", f"--root={demo.root}")
        return done.stdout.strip()

    assert re.fullmatch(r"\d{6}", demo.said(r"needs a code: (\S+) now"))
    assert "make demo-code" in demo.output
    email, password = demo.said(r"find_user (\S+)\""), demo.said(r"password +(\S+)")
    walk(chromium, f"http://127.0.0.1:{demo.port}", password, email, code)
    state = State.load(demo.root)
    text = "".join(log.read_text(errors="replace") for log in Path(demo.root).glob("*.log"))
    assert state.second_factor not in text
    assert len(state.event_secrets) == 3
    assert not [secret for secret in state.event_secrets.values() if secret in text]
    assert not re.search(r"eyJ[\w-]{20,}", text), "an assertion, or a part of one"
