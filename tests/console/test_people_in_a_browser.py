"""Signing in, and looking up what people did, in Chromium and by keyboard alone."""

from __future__ import annotations

from base64 import b32decode
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django_otp.oath import totp
from playwright.sync_api import Page
from pytest_django import Settings

from activity.models import Activity
from rainbo.models import Authenticator
from tests.console import accessibility
from tests.console.browser import Window
from tests.console.conftest import Enter
from tests.rows import instance_row, staff

SIGN_IN = "/admin/login/?next=/admin/"
PASSWORD = "correct horse battery"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.fixture
def ann() -> User:
    return staff("ann", password=PASSWORD, is_superuser=True)


@pytest.fixture
def stranger(enter: Enter) -> Window:
    return enter(None)


def by_keyboard(window: Window, name: str, password: str) -> None:
    """The name has the focus, and Enter sends the form."""
    window.wait_for("() => document.activeElement.name === 'username'")
    window.type(name)
    window.press("Tab")
    window.type(password)
    with_answer(window, "Enter")


def with_answer(window: Window, key: str) -> None:
    def work(page: Page) -> None:
        with page.expect_navigation():
            page.keyboard.press(key)

    window.do(work)


def shown_by(secret: bytes) -> str:
    return f"{totp(secret, t0=0):06d}"


def test_the_first_page_tells_the_zone_of_the_browser(stranger: Window) -> None:
    stranger.open(SIGN_IN)
    stranger.wait_for("() => document.cookie.includes('rainbo_zone=UTC')")
    assert not stranger.complaints


def test_a_wrong_password_is_told_and_the_right_one_lets_in(stranger: Window, ann: User) -> None:
    stranger.open(SIGN_IN)
    by_keyboard(stranger, "ann", "wrong")
    assert stranger.path == "/admin/login/"
    assert "correct username and password" in stranger.text()
    assert list(accessibility.complaints(stranger)) == []
    stranger.open(SIGN_IN)
    by_keyboard(stranger, "ann", PASSWORD)
    assert stranger.path == "/admin/"
    assert [*Activity.objects.order_by("pk").values_list("action", flat=True)] == [
        "person.sign_in_failed",
        "person.signed_in",
    ]


def test_too_many_tries_lock_and_say_until_when(
    stranger: Window, ann: User, settings: Settings
) -> None:
    settings.AXES_FAILURE_LIMIT = 2
    stranger.expects(429, 403)
    for _ in range(2):
        stranger.open(SIGN_IN)
        by_keyboard(stranger, "ann", "wrong")
    assert "sign-in is locked until" in stranger.text()
    assert list(accessibility.complaints(stranger)) == []
    stranger.open(SIGN_IN)
    by_keyboard(stranger, "ann", PASSWORD)
    assert "sign-in is locked until" in stranger.text()


def test_a_second_factor_is_set_up_and_asked_for(enter: Enter, ann: User) -> None:
    window = enter(ann)
    window.open("/admin/second-factor/enrol/")
    secret = b32decode(window.do(lambda page: page.inner_text("code.command")).replace(" ", ""))
    window.fill("[name=code]", "000000" if shown_by(secret) != "000000" else "000001")
    window.click("main form button >> text=Set up")
    assert "That code is wrong" in window.text()
    window.fill("[name=code]", shown_by(secret))
    window.click("main form button >> text=Set up")
    assert window.do(lambda page: page.locator(".recovery-codes li").count()) == 10
    assert list(accessibility.complaints(window)) == []

    Authenticator.objects.update(last_step=-1)  # a code counts once
    again = enter(None)
    again.open(SIGN_IN)
    by_keyboard(again, "ann", PASSWORD)
    assert again.path == "/admin/second-factor/code/"
    again.open("/admin/tenants/tenant/")
    assert again.path == "/admin/second-factor/code/"
    again.fill("[name=code]", shown_by(secret))
    with_answer(again, "Enter")
    assert again.path == "/admin/tenants/tenant/"


def test_what_people_did_is_filtered_and_exported(enter: Enter, ann: User, tmp_path: Path) -> None:
    client = Client()
    client.force_login(ann)
    instance_row(1, is_master=True)
    client.post("/admin/tenants/rdsinstance/1/check-now/")
    window = enter(ann)
    window.open("/admin/activity/activity/?q=ann")
    assert "1 action" in window.text()
    path = tmp_path / "activity.csv"

    def save(page: Page) -> None:
        with page.expect_download() as begun:
            page.click("form[action*='export'] button")
        begun.value.save_as(path)

    window.do(save)
    head, *lines = path.read_text(encoding="utf-8-sig").splitlines()
    assert head.startswith("at (UTC),who,")
    assert [line for line in lines if "ann" in line and "run.requested" in line]
    assert Activity.objects.filter(action__endswith="exported").exists()


def test_a_session_ends_with_the_person(enter: Enter, ann: User) -> None:
    window = enter(ann)
    window.open("/admin/")
    assert window.path == "/admin/"
    User.objects.filter(pk=ann.pk).update(is_active=False)
    window.open("/admin/")
    assert window.path == "/admin/login/"
