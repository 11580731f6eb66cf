"""The console's schedules as a person uses them, in Chromium."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from syncs.admin.schedule_actions import LOCAL
from syncs.dispatch import reconcile
from syncs.models import SyncRun, SyncSchedule
from tests.console.browser import Window
from tests.console.conftest import Enter
from tests.rows import instance_row, staff

LIST = "/admin/syncs/syncschedule/"
SAVE = "button[name=_save]"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fleet() -> None:
    instance_row(1, is_master=True)
    reconcile.reconcile()


def kept() -> SyncSchedule:
    return SyncSchedule.objects.select_related("schedule").get(sync="user_routing")


def form(button: str) -> str:
    return f"form[action$='/{button}/'] button"


def test_a_schedule_is_created_edited_paused_run_and_resumed(window: Window) -> None:
    kept().schedule.delete()

    window.open(f"{LIST}add/")
    window.choose("[name=kind]", "10")
    window.click(SAVE)
    assert kept().schedule.cron == "*/10 * * * *"

    page = f"{LIST}{kept().pk}/change/"
    window.open(page)
    assert window.is_shown("[name=kind]")
    assert not window.is_shown("[name=cron]")
    window.choose("[name=kind]", "weekly")
    assert window.is_shown("[name=weekday]")
    window.fill("[name=at]", "03:30")
    window.click("button[name=_preview]")
    assert "every Monday at 03:30 UTC" in window.text()
    window.click(SAVE)
    assert "Not saved yet" in window.text()
    assert kept().schedule.cron == "*/10 * * * *"
    window.do(lambda page: page.check("[name=accepted]"))
    window.click(SAVE)
    assert kept().schedule.cron == "30 3 * * 1"

    window.open(page)
    window.do(lambda page: page.click(".pause summary"))
    until = timezone.now() + timedelta(hours=3)
    window.fill("[name=until]", until.strftime(LOCAL))
    window.fill("[name=reason]", "moving rds1")
    window.click(form("pause"))
    assert kept().is_paused(timezone.now())
    assert "moving rds1 (admin)" in window.text()

    window.click(form("run"))
    run = SyncRun.objects.get()
    assert window.path == f"/admin/syncs/syncrun/{run.pk}/change/"
    window.open(page)
    window.click(form("dry-run"))
    assert "dry run: nothing is written" in window.text()

    window.open(page)
    window.click(form("resume"))
    assert not kept().is_paused(timezone.now())


def test_who_may_only_look_finds_nothing_to_press(enter: Enter) -> None:
    user: User = staff()
    user.user_permissions.add(Permission.objects.get(codename="view_syncschedule"))
    window = enter(user)
    window.open(f"{LIST}{kept().pk}/change/")
    assert "every 15 minutes" in window.text()
    assert not window.is_shown("form[action*='/syncschedule/'] button")
    assert not window.is_shown(SAVE)
