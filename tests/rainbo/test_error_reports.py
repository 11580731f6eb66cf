"""Errors reach Sentry without what must not leave RAINBO."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks

from rainbo import error_reports
from tests.children import child
from tests.http_servers import Receiver, receiver

CANARY, KEY = "QCANARYQ", "0123456789abcdef" * 2
PROGRAM = ("-W", "error", "-m", "tests.rainbo.error_program")


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def run(server: Receiver, **env: str) -> str:
    dsn = server.url("/7").replace("://", f"://{KEY}@")
    known = {"RAINBO_SENTRY_DSN": dsn, "RAINBO_HTTP_PRIVATE_HOSTS": "127.0.0.1"}
    with child(program=PROGRAM, **known | env) as process:
        code, said = process.end()
    assert code == 0, said
    return said


def events(server: Receiver) -> list[dict[str, Any]]:
    """The last line of each envelope."""
    return [json.loads(sent.body.splitlines()[-1]) for sent in server.received]


@pytest.mark.django_db
def test_errors_arrive_and_nothing_that_is_a_secret(server: Receiver) -> None:
    said = run(server)
    found = events(server)
    shown = "\n".join(f"{sent.path} {sent.headers} {sent.body!r}" for sent in server.received)
    assert CANARY not in shown
    assert "x.example" not in shown
    bodies = b"\n".join(sent.body.split(b"\n", 1)[1] for sent in server.received)
    assert KEY.encode() not in bodies, "the first line is the envelope's, for Sentry itself"
    assert KEY not in said
    assert {sent.path for sent in server.received} == {"/api/7/envelope/"}
    kinds = [e["exception"]["values"][-1]["type"] if "exception" in e else e["logentry"]["message"]
             for e in found]  # fmt: skip
    assert kinds == [
        "IntegrityError",
        "no way to https://u:(e-mail) and (e-mail)",
        f"the DSN is http:(e-mail):{server.port}/7",
        "ValueError",
    ]
    web = found[0]
    assert web["request"] == {"method": "POST", "url": "http://testserver/broken/"}
    (error,) = web["exception"]["values"]
    assert error["value"].startswith("duplicate key, see (e-mail), token=***")
    frames = error["stacktrace"]["frames"]
    assert any(frame["function"] == "broken" for frame in frames)
    assert not any("vars" in frame for frame in frames)
    crumbs = [crumb["message"] for crumb in web["breadcrumbs"]["values"]]
    assert "signed in (e-mail) with password=***" in crumbs
    assert not any("SELECT" in crumb for crumb in crumbs)
    assert not {"user", "extra", "modules"} & web.keys()


@pytest.mark.django_db
def test_who_is_not_reached_breaks_nothing(server: Receiver) -> None:
    """It refuses, it leads elsewhere, and it asks to wait: the program goes on."""
    with receiver() as other:
        server.reply(302, location=other.url())
        run(server)
        assert len(server.received) == 4
        assert not other.received
    server.received.clear()
    server.reply(429, retry_after="60")
    run(server)
    assert len(server.received) == 1
    server.received.clear()
    said = run(server, RAINBO_HTTP_PRIVATE_HOSTS="")
    assert not server.received
    assert KEY not in said


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("", None),
        (f"https://{KEY}@sentry.example/7", None),
        (f"https://{KEY}@sentry.example/x-{CANARY}", error_reports.INVALID),
        (f"ftp://{KEY}@sentry.example/7", error_reports.INVALID),
        (f"https://{KEY}@[sentry/7", error_reports.INVALID),
        (CANARY, error_reports.INVALID),
    ],
)
def test_a_setting_that_is_wrong_is_a_warning_without_its_value(
    settings: Any, caplog: pytest.LogCaptureFixture, dsn: str, words: str | None
) -> None:
    settings.RAINBO_SENTRY_DSN = dsn
    found = [one for one in run_checks() if one.id == "rainbo.W002"]
    assert [one.msg for one in found] == ([words] if words else [])
    if words:
        error_reports.start()
        assert words in caplog.text
        assert CANARY not in caplog.text
        assert KEY not in caplog.text


def test_without_the_package_a_warning_says_what_to_install(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.RAINBO_SENTRY_DSN = f"https://{KEY}@sentry.example/7"
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)  # as if it were not installed
    (found,) = [one for one in run_checks() if one.id == "rainbo.W002"]
    assert "sentry-sdk is not installed" in found.msg
    assert "pip install 'rainbo[sentry]'" in str(found.hint)
    error_reports.start()
    assert "No error is reported" in caplog.text


@pytest.mark.django_db
def test_without_the_setting_nothing_of_it_is_loaded() -> None:
    code = "import django, sys; django.setup(); print('sentry_sdk' in sys.modules)"
    with child("-c", code, program=(), DJANGO_SETTINGS_MODULE="rainbo.settings") as process:
        assert process.end() == (0, "False\n")
