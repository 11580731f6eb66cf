"""From a tenant's page into the tenant's application, in Chromium and over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from urllib.parse import parse_qs

import pytest
from django.conf import settings as django_settings
from django.db import connections
from pytest_django import Settings

from common.encryption import Encrypted
from rainbo.models import Authenticator
from tenants.models import RdsInstance, SupportSession
from tenants.models.support_session import SupportState
from tenants.support_access import sessions
from tenants.support_access.sessions import Issued
from tests.console import accessibility
from tests.console.browser import Window
from tests.console.conftest import Enter
from tests.instances import InstanceFleet
from tests.tenants.conftest import registered
from tests.tenants.support_access.conftest import set_up
from tests.tenants.support_access.test_sessions import ISSUER, Place

__all__ = ["registered", "set_up"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@contextmanager
def application(place: Place) -> Iterator[list[dict[str, str | None]]]:
    """An application that takes the form; yields the headers of what it was sent."""
    seen: list[dict[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            names = ("Referer", "Origin", "Cookie")
            seen.append({name: self.headers[name] for name in names} | {"path": self.path})
            (token,) = parse_qs(body)["assertion"]
            try:
                entered = place.enter(Issued(SupportSession.objects.get(), "", token))
            finally:
                connections.close_all()
            text = f"<!DOCTYPE html><title>Acme</title><p>{'inside' if entered else 'refused'}"
            self.send_response(200 if entered else 403)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    RdsInstance.objects.filter(pk=2).update(app_url=f"http://127.0.0.1:{server.server_port}/base")
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()


def prove_two_factor(window: Window, place: Place) -> None:
    """As after a code, in the window's session."""
    device = Authenticator.objects.create(user=place.user, secret=Encrypted("x"), name="a")
    cookies = window.do(lambda page: page.context.cookies())
    key = next(cookie["value"] for cookie in cookies if cookie["name"] == "sessionid")
    store = import_module(django_settings.SESSION_ENGINE).SessionStore(session_key=key)
    store["otp_device_id"] = device.persistent_id
    store["two_factor_at"] = int(time.time())
    store.save()


def test_one_enters_by_two_buttons(set_up: InstanceFleet, settings: Settings, enter: Enter) -> None:
    settings.RAINBO_CONSOLE_URL = ISSUER
    place = Place(set_up)
    place.user.is_superuser = True
    place.user.save()
    with application(place) as seen:
        window = enter(place.user)
        prove_two_factor(window, place)
        window.open(f"/admin/tenants/tenant/{place.tenant.pk}/change/")
        window.click("text=Enter as support")
        assert [*accessibility.complaints(window)] == []
        window.fill("[name=reason]", "Invoice 118 shows no VAT")
        window.click("button:has-text('Continue')")
        assert [*accessibility.complaints(window)] == []
        window.click("button:has-text('Enter as support')")
        window.wait_for("() => document.title === 'Acme'")
        assert window.do(lambda page: page.inner_text("p")) == "inside"
        # To go there is what the page is for; the window would report any other host.
        window.complaints[:] = [one for one in window.complaints if "/rainbo/enter" not in one]
    assert seen == [
        {"Referer": None, "Origin": "null", "Cookie": None, "path": "/base/rainbo/enter"}
    ]
    sessions.follow()
    row = SupportSession.objects.get()
    assert (row.state, row.read_only) == (SupportState.OPEN, True)
