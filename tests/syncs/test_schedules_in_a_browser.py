"""The console's schedules as a person uses them, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from syncs import reconcile
from syncs.models import SyncRun, SyncSchedule
from syncs.schedule_actions import LOCAL
from tests import browser
from tests.browser import Browser
from tests.fleet_fixtures import needs
from tests.rows import instance_row, staff

LIST = "/admin/syncs/syncschedule/"
SAVE = "button[name=_save]"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    remedy = "Chromium is not installed: apt install chromium chromium-driver"
    with browser.window(*needs(browser.found(), remedy)) as window:
        yield window


@pytest.fixture(autouse=True)
def fleet() -> None:
    instance_row(1, is_master=True)
    reconcile.reconcile()


def enter(chromium: Browser, site: LiveServer, user: User) -> None:
    client = Client()
    client.force_login(user)
    chromium.log_in(site.url, client.cookies["sessionid"].value)


def kept() -> SyncSchedule:
    return SyncSchedule.objects.select_related("schedule").get(sync="user_routing")


def form(button: str) -> str:
    return f"form[action$='/{button}/'] button"


def test_a_schedule_is_created_edited_paused_run_and_resumed(
    chromium: Browser, live_server: LiveServer, admin_user: User
) -> None:
    kept().schedule.delete()
    enter(chromium, live_server, admin_user)

    chromium.open(f"{live_server.url}{LIST}add/")
    chromium.fill("[name=kind]", "10")
    chromium.click(SAVE)
    assert kept().schedule.cron == "*/10 * * * *"

    page = f"{live_server.url}{LIST}{kept().pk}/change/"
    chromium.open(page)
    assert chromium.is_shown("[name=kind]")
    assert not chromium.is_shown("[name=cron]")
    chromium.fill("[name=kind]", "weekly")
    assert chromium.is_shown("[name=weekday]")
    chromium.fill("[name=at]", "03:30")
    chromium.click("button[name=_preview]")
    assert "every Monday at 03:30 UTC" in chromium.text()
    chromium.click(SAVE)
    assert "Nothing is saved yet" in chromium.text()
    assert kept().schedule.cron == "*/10 * * * *"
    chromium.script("document.querySelector('[name=accepted]').click()")
    chromium.click(SAVE)
    assert kept().schedule.cron == "30 3 * * 1"

    chromium.open(page)
    chromium.script("document.querySelector('.pause').open = true")
    until = timezone.now() + timedelta(hours=3)
    chromium.fill("[name=until]", until.strftime(LOCAL))
    chromium.fill("[name=reason]", "moving rds1")
    chromium.click(form("pause"))
    assert kept().is_paused(timezone.now())
    assert "moving rds1 (admin)" in chromium.text()

    chromium.click(form("run"))
    run = SyncRun.objects.get()
    assert chromium.url == f"{live_server.url}/admin/syncs/syncrun/{run.pk}/change/"
    chromium.open(page)
    chromium.click(form("dry-run"))
    assert "dry run: nothing is written" in chromium.text()

    chromium.open(page)
    chromium.click(form("resume"))
    assert not kept().is_paused(timezone.now())
    assert chromium.complaints() == []


def test_who_may_only_look_finds_nothing_to_press(
    chromium: Browser, live_server: LiveServer
) -> None:
    user = staff()
    user.user_permissions.add(Permission.objects.get(codename="view_syncschedule"))
    enter(chromium, live_server, user)
    chromium.open(f"{live_server.url}{LIST}{kept().pk}/change/")
    assert "every 15 minutes" in chromium.text()
    assert not chromium.is_shown("form[action*='/syncschedule/'] button")
    assert not chromium.is_shown(SAVE)
    assert chromium.complaints() == []
