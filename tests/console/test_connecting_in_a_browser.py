"""Connecting an account in Chromium: to a service on which people allow, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django.live_server_helper import LiveServer

from integrations.models import Connection
from localfleet.services.github import GitHub
from localfleet.services.server import running
from tests.console import accessibility
from tests.console.browser import Window
from tests.integrations.oauth import at_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.fixture
def hub(settings: Any, live_server: LiveServer) -> Iterator[GitHub]:
    """A service on another site than the console."""
    settings.RAINBO_HTTP_PRIVATE_HOSTS = ["127.0.0.1"]
    with running(GitHub()) as server, at_server("github", server):
        settings.RAINBO_CONSOLE_URL = live_server.url
        assert isinstance(server, GitHub)
        server.apps.redirects = {
            f"{live_server.url}/admin/integrations/connection/callback/github/"
        }
        yield server


def test_an_account_is_connected_declined_and_connected_again(
    window: Window, hub: GitHub, admin_user: User
) -> None:
    window.visits(hub.url)
    window.open("/admin/integrations/connection/add/")
    window.click("text=Connect GitHub")
    assert [*accessibility.complaints(window)] == []
    window.fill("[name=name]", "work")
    window.click("text=Continue at GitHub")
    assert window.url.startswith(f"{hub.url}/login/oauth/authorize")
    window.click("text=Allow")
    assert "ann at GitHub is connected" in window.text()
    row = Connection.objects.get()
    assert window.path == f"/admin/integrations/connection/{row.pk}/change/"
    assert (row.owner, row.account) == (admin_user, "ann")
    assert [*accessibility.complaints(window)] == []

    window.click("text=Connect again in the browser")
    window.click("text=Continue at GitHub")
    window.click("text=Decline")
    assert "you declined at GitHub: nothing was changed" in window.text()
    assert hub.apps.person_of(row.reveal_credentials()["token"]) == "ann"

    window.open(f"/admin/integrations/connection/{row.pk}/change/")
    window.click("section[aria-labelledby=connection-off] button")
    assert "GitHub has withdrawn the access" in window.text()
    assert not hub.apps.access
