"""A browser for the console's tests, and somebody who is signed in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from tests.console import browser
from tests.console.browser import Chromium, Window
from tests.fleet_fixtures import needs

Enter = Callable[..., Window]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    path = needs(shutil.which("chromium"), "Chromium is not installed: apt install chromium")
    with browser.chromium(path) as found:
        yield found


@pytest.fixture
def enter(chromium: Chromium, live_server: LiveServer) -> Iterator[Enter]:
    """Opens a window as somebody, or as nobody. What the browser complains of fails the test."""
    windows: list[Window] = []

    def opened(user: User | None, *, scripts: bool = True) -> Window:
        window = Window(chromium, live_server.url, scripts=scripts)
        windows.append(window)
        if user is not None:
            client = Client()
            client.force_login(user)
            window.sign_in(client.cookies["sessionid"].value)
        return window

    yield opened
    for window in windows:
        window.close()
    assert [complaint for window in windows for complaint in window.complaints] == []


@pytest.fixture
def window(enter: Enter, admin_user: User) -> Window:
    """A window of a user with every permission."""
    return enter(admin_user)
