"""Entering a tenant of the demo as support, compared with a plain sign-in there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import requests
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from bench.errors import BenchError
from bench.progress import note
from bench.report.figures import Spread, ratio
from bench.report.results import Bar, Line, Part
from bench.testbed.running_demo import running_demo
from localfleet.data.schema import DATABASE
from localfleet.demo.state import State
from localfleet.servers.server import HOST, Server

MOST = 3.0  # times a plain sign-in
PASSWORD = "correct horse battery staple"  # noqa: S105 (of a user who is made up)
REASON = "Measured by make bench"
USER = """
    UPDATE users SET password = %s WHERE id = (
        SELECT id FROM users WHERE tenant_id IS NOT NULL AND status = 'Active'
           AND NOT is_ghost_admin AND password = '!' ORDER BY id LIMIT 1)
    RETURNING email"""
ROUNDS = (None, 1)  # of the hash of a password: Django's own number, and hardly any work


@dataclass(frozen=True)
class Demo:
    """A demo that serves. tenants: of its instance rds2, to enter. emails: by ROUNDS."""

    console: requests.Session
    url: str
    application: str
    tenants: list[str]
    emails: list[str]


def measure(turns: int) -> Part:
    """All requests of one person, in turns: those of a sign-in, then those of an entry."""
    note(f"a demo, {turns} entries as support and as many sign-ins")
    with _demo(turns + 1) as demo:
        _sign_in(demo, demo.emails[0])  # both ways have been gone once
        _enter(demo, demo.tenants[0])
        plain, quick, support = [], [], []
        for tenant in demo.tenants[1:]:
            plain.append(_timed(_sign_in, demo, demo.emails[0]))
            quick.append(_timed(_sign_in, demo, demo.emails[1]))
            support.append(_timed(_enter, demo, tenant))
    found, bare = ratio(support, plain), ratio(support, quick)
    lines = [
        Line("a plain sign-in", "form, password, first page", Spread.of(plain)),
        Line(
            "the same",
            "with a hash of one round",
            Spread.of(quick),
            ratio(quick, plain),
            note=f"RAINBO takes {bare.median:.1f} times as long",
        ),
        Line("RAINBO", "form, assertion, redemption, first page", Spread.of(support), found),
    ]
    bars = [Bar("entering as support, without typing", MOST, found.median)]
    facts = {"measured": "the demo's requests over HTTP; Django's own hash of passwords"}
    return Part("support", "Support access", lines, bars, facts)


def _timed(way: Callable[..., None], *given: Any) -> float:
    begin = time.perf_counter()
    way(*given)
    return time.perf_counter() - begin


def _enter(demo: Demo, tenant: str) -> None:
    """From the button of the tenant's page to the first page of the application."""
    address = f"{demo.url}/admin/tenants/tenant/{tenant}/enter/"
    form = _field(demo.console.get(address).text, "csrfmiddlewaretoken")
    given = {"reason": REASON, "minutes": "30", "read_only": "on", "csrfmiddlewaretoken": form}
    page = demo.console.post(address, given, headers={"Referer": address}).text
    with _browser() as browser:
        to = re.search(r'action="(http[^"]+/rainbo/enter)"', page)
        if to is None:
            raise BenchError(f"no assertion was issued: {_said(page)}")
        inside = browser.post(unescape(to[1]), {"assertion": _field(page, "assertion")})
        _check("rainbo-support" in inside.text, inside)
        browser.post(f"{demo.application}/rainbo/end")


def _sign_in(demo: Demo, email: str) -> None:
    with _browser() as browser:
        address = f"{demo.application}/sign-in"
        token = _field(browser.get(address).text, "csrfmiddlewaretoken")
        given = {"email": email, "password": PASSWORD, "csrfmiddlewaretoken": token}
        inside = browser.post(address, given, headers={"Referer": address})
        _check("Locations" in inside.text, inside)


@contextmanager
def _demo(tenants: int) -> Iterator[Demo]:
    """Run a demo, and sign in to its console as the user support."""
    with running_demo() as demo, _browser() as console:
        _open_console(console, demo.url, demo.password, State.load(demo.root).code)
        yield _prepared(console, demo.url, demo.root, tenants)


def _open_console(console: requests.Session, url: str, password: str, code: str) -> None:
    address = f"{url}/admin/login/"
    token = _field(console.get(address).text, "csrfmiddlewaretoken")
    given = {"username": "support", "password": password, "csrfmiddlewaretoken": token}
    page = console.post(address, given, headers={"Referer": address})
    token = _field(page.text, "csrfmiddlewaretoken")
    given = {"code": code, "csrfmiddlewaretoken": token}
    page = console.post(page.url, given, headers={"Referer": page.url})
    _check("second-factor" not in page.url, page)


def _prepared(console: requests.Session, url: str, root: Path, count: int) -> Demo:
    with Server(root, "rds2").connect(DATABASE) as instance:
        emails = []
        for rounds in ROUNDS:
            hashed = PBKDF2PasswordHasher().encode(PASSWORD, "bench-of-rainbo-salt", rounds)
            ((email,),) = instance.execute(USER, [hashed]).fetchall()
            emails.append(email)
    with Server(root, "rainbo").connect("rainbo") as own:
        found = own.execute(
            "SELECT id::text FROM tenant_master WHERE instance_id = 2 AND vanished_at IS NULL "
            "ORDER BY id LIMIT %s",
            [count],
        )
        tenants = [key for (key,) in found.fetchall()]
    application = f"http://{HOST}:{State.load(root).ports['application']}/rds2"
    return Demo(console, url, application, tenants, emails)


def _browser() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    if found is None:
        raise BenchError(f"The page has no field {name}: {_said(page)}")
    return unescape(found[1])


def _check(is_right: bool, page: requests.Response) -> None:
    if not is_right:
        raise BenchError(f"{page.url} gave {page.status_code}: {_said(page.text)}")


def _said(page: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", page).split())[-300:]
