"""The way of a person who tries alerts in the demo: set up, break, acknowledge, repair.

Slack and the mailbox are the page of the demo that shows what arrived.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from localfleet.demo import breaking
from localfleet.folders import local_root, scratch_root
from tests.console import browser
from tests.console.browser import Window
from tests.fleet_fixtures import needs
from tests.localfleet.demo.test_demo import RunningDemo

CLICKS, SECONDS = 9, 120  # at most, to have Slack and mail set up and tested
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1_500)]


class Person:
    """Counts what a person clicks, and how long the pages take; not how fast somebody types."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.clicks = 0
        self.began = time.monotonic()

    def click(self, selector: str) -> None:
        self.clicks += 1
        self.window.click(selector)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@pytest.fixture
def demo() -> Iterator[RunningDemo]:
    with scratch_root(local_root()) as folder, RunningDemo(folder / "demo").served() as started:
        yield started


@pytest.fixture
def person(demo: RunningDemo) -> Iterator[Person]:
    path = needs(shutil.which("chromium"), "Chromium is not installed: apt install chromium")
    with browser.chromium(path) as found:
        window = Window(found, f"http://127.0.0.1:{demo.port}")
        yield Person(window)
        window.close()
        assert window.complaints == []


def test_alerts_from_the_console_to_the_resolution(
    demo: RunningDemo, person: Person, tmp_path: Path
) -> None:
    arrived = demo.said(r"(http://\S+) shows what arrived")
    window = person.window
    window.open("/admin/")
    window.fill("[name=username]", "admin")
    window.fill("[name=password]", demo.said(r"password +(\S+)"))
    person.click("button[type=submit]")
    person.began, person.clicks = time.monotonic(), 0

    person.click("a[href='/admin/alerts/channel/'] >> visible=true")
    person.click("a[href*='/alerts/channel/add/'] >> visible=true")
    window.fill("[name=name]", "team")
    window.fill("[name=new_address]", f"{arrived}/services/T0/B0/secret")
    add_and_test(person, "team")

    person.click("a[href='/admin/alerts/channel/'] >> visible=true")
    person.click("a[href*='/alerts/channel/add/'] >> visible=true")
    person.click("a[href='?kind=email']")
    window.fill("[name=name]", "mailbox")
    window.fill("[name=to]", "ops@example.com")
    add_and_test(person, "mailbox")
    print(f"set up with {person.clicks} clicks in {person.seconds:.1f} s without typing")
    assert person.clicks <= CLICKS
    assert person.seconds < SECONDS
    assert shown(arrived).count("This is a test of the channel") == 2

    breaking.stop_instance(demo.root)
    broken = time.monotonic()
    until_shown(arrived, "An instance is down", times=2, seconds=300)
    print(f"the alert arrived after {time.monotonic() - broken:.0f} s")
    person.click("a[href='/admin/alerts/incident/'] >> visible=true")
    person.click("#result_list a:has-text('An instance is down')")
    window.do(lambda page: page.click("summary:has-text('Acknowledge')"))
    person.click("button:has-text('I take care of it')")
    assert "Acknowledged. No reminder is sent" in window.text()
    incident = window.path

    breaking.repair(demo.root)
    repaired = time.monotonic()
    until_shown(arrived, "RESOLVED", times=2, seconds=600)
    print(f"its resolution arrived after {time.monotonic() - repaired:.0f} s")
    window.open(incident)
    text = window.text()
    assert "acknowledged by admin" in text
    assert "resolved" in text
    assert "secret" not in text


def add_and_test(person: Person, name: str) -> None:
    person.click("[type=submit][name=_save]")
    assert f"The channel {name} was added." in person.window.text()
    person.click("button:has-text('Send a test')")
    assert "The test was accepted" in person.window.text()


def shown(arrived: str) -> str:
    return requests.get(arrived, timeout=10).text


def until_shown(arrived: str, words: str, *, times: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while shown(arrived).count(words) < times:
        assert time.monotonic() < deadline, shown(arrived)
        time.sleep(2)
