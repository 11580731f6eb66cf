"""What only Django does between the middleware and a view."""

from __future__ import annotations

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views.decorators.http import etag
from pytest_django import Settings

from tests.deploy.support_access.applications import ISSUER, SHIPPED


@etag(lambda _: '"1"')
def view(_: HttpRequest) -> HttpResponse:
    return HttpResponse("<!DOCTYPE html><body><h1>Acme")


def test_a_view_is_not_asked_whether_its_page_has_changed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The browser has it from before the session, without the banner."""
    monkeypatch.syspath_prepend(str(SHIPPED))
    import rainbo_support  # type: ignore[import-not-found]

    given = {"issuer": ISSUER, "instance": 2, "keys": "x.json", "sign_in": lambda *_: None}
    settings.RAINBO_SUPPORT = given
    middleware = rainbo_support.SupportAccess(view)
    row = ("some-jti", "17", "42", "ann", "Invoice 118", True, 30)
    monkeypatch.setattr(middleware, "execute", lambda *_: [row])
    request = RequestFactory().get("/", headers={"If-None-Match": '"1"'})
    assert view(request).status_code == 304
    request.COOKIES["rainbo_support"] = middleware.signer(request).sign("some-jti")
    answer = middleware(request)
    assert (answer.status_code, b'id="rainbo-support"' in answer.content) == (200, True)


@pytest.mark.django_db
def test_a_ghost_user_whom_the_user_model_does_not_find_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A default manager may be limited to a tenant: that is no error of the server."""
    monkeypatch.syspath_prepend(str(SHIPPED))
    import rainbo_support

    settings.RAINBO_SUPPORT = {"issuer": ISSUER, "instance": 2, "keys": "x.json"}
    middleware = rainbo_support.SupportAccess(view)
    row = ("some-jti", "17", "42", "ann", "Invoice 118", True, 30)
    monkeypatch.setattr(middleware, "execute", lambda *_: [row])
    request = RequestFactory().get("/")
    request.COOKIES["rainbo_support"] = middleware.signer(request).sign("some-jti")
    assert middleware(request).status_code == 403
    assert "the user model does not find the ghost user 17" in caplog.text
