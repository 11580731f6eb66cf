"""What Django shows of its settings and of errors keeps no secret."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import RequestFactory
from pytest_django import Settings

from rainbo.exception_filter import WithoutSecrets
from rainbo.logs import AdminEmails

PLANTED = "Qx7planted"
DSN = f"postgresql://rainbo:{PLANTED}@db.example.com:5432/app"


@pytest.fixture
def planted(settings: Settings) -> list[str]:
    """Secrets as settings have them: those of this installation, and planted ones."""
    settings.RAINBO_ALERTS_PING_URL = f"https://ping.example.com/{PLANTED}"
    settings.RAINBO_OAUTH_CLIENT_SECRETS = {"google": PLANTED}
    settings.EMAIL_HOST_PASSWORD = PLANTED
    settings.CACHES = settings.CACHES | {"other": {"LOCATION": f"redis://:{PLANTED}@cache:6379"}}
    settings.SOMETHING = DSN
    own = ("RAINBO_SECRET_KEY", "RAINBO_CREDENTIAL_KEYS", "RAINBO_DB_PASSWORD")
    return [PLANTED, *(os.environ[name] for name in own)]


@pytest.mark.parametrize("form", ["hash", "unified"])
def test_diffsettings_masks_them(
    planted: list[str], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("diffsettings", output=form, all=True)
    out = capsys.readouterr().out
    assert "SECRET_KEY = ***" in out
    assert "ROOT_URLCONF = 'rainbo.urls'" in out
    assert "db.example.com" in out
    assert not [secret for secret in planted if secret in out]


def failure(values: Mapping[str, object]) -> WithoutSecrets:
    """The report of an error with a secret in its message, a local variable and the request."""
    password, address, found = PLANTED, DSN, values
    request = RequestFactory().post(f"/x/?token={PLANTED}", {"password": PLANTED})
    request.COOKIES["sessionid"] = PLANTED
    try:
        raise ValueError(f"can't reach {DSN}", len(password + address) + len(found))
    except ValueError:
        kind, error, trace = sys.exc_info()
    return WithoutSecrets(request, kind, error, trace)


@pytest.mark.parametrize("debug", [False, True])
def test_error_pages_mask_them(planted: list[str], settings: Settings, debug: bool) -> None:
    settings.DEBUG = debug
    report = failure({"password": PLANTED, "dsn": DSN, "plain": "to be seen"})
    for text in (report.get_traceback_html(), report.get_traceback_text()):
        assert not [secret for secret in planted if secret in text]
    assert ("to be seen" in report.get_traceback_html()) is debug


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError(PLANTED)


def test_a_value_that_can_not_be_shown_breaks_no_page(settings: Settings) -> None:
    settings.DEBUG = True
    page = failure({"found": Unshowable()}).get_traceback_html()
    assert "not shown: RuntimeError" in page
    assert PLANTED not in page


@pytest.mark.parametrize("html", [False, True])
def test_error_mails_mask_them(planted: list[str], settings: Settings, html: bool) -> None:
    settings.ADMINS = [("Ann", "ann@example.com")]
    (handler,) = [h for h in logging.getLogger("django").handlers if isinstance(h, AdminEmails)]
    handler.include_html = html
    try:
        try:
            raise ValueError(f"can't reach {DSN}")
        except ValueError:
            failed = sys.exc_info()
        record = logging.getLogger("django.request").makeRecord(
            "django.request", logging.ERROR, "f.py", 1, "lost %s", (DSN,), failed
        )
        handler.handle(record)
    finally:
        handler.include_html = False
    (sent,) = mail.outbox
    text = str(sent.message())
    assert "db.example.com" in sent.subject
    assert "can't reach" in text.replace("&#x27;", "'")
    assert not [secret for secret in planted if secret in text]
