"""API tokens and the API's own page in Chromium."""

from __future__ import annotations

import pytest

from api import tokens
from api.models import ApiToken
from tests.console import accessibility
from tests.console.browser import Window

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


def test_a_token_is_made_and_shown(window: Window) -> None:
    window.open("/admin/api/apitoken/add/")
    window.do(lambda page: page.fill("[name=name]", "ci"))
    window.do(lambda page: page.click("[type=submit][name=_save]"))
    secret = window.do(lambda page: page.inner_text("[data-copy]"))
    assert tokens.caller_of(secret, None)
    assert [*accessibility.complaints(window)] == []
    window.open("/admin/api/apitoken/")
    pk = ApiToken.objects.get().pk
    window.open(f"/admin/api/apitoken/{pk}/change/")


def test_the_description_is_shown_and_loads_nothing_from_elsewhere(window: Window) -> None:
    window.open("/api/v1/docs")
    window.wait_for("() => document.querySelectorAll('.opblock').length > 10")
