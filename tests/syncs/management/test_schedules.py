"""The commands that change a schedule: what they store, record and print, and their exit codes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from activity.models import Activity
from common.clock import database_now
from syncs.dispatch import reconcile
from syncs.models import SyncRun, SyncSchedule
from syncs.schedules.pause import PauseEnd
from syncs.schedules.store import OFF
from tests.rows import instance_row

pytestmark = pytest.mark.django_db
Capture = pytest.CaptureFixture[str]
NAME = "user_routing"


@pytest.fixture(autouse=True)
def _all_planned() -> None:
    instance_row(1, is_master=True)
    reconcile.reconcile()


def kept() -> SyncSchedule:
    return SyncSchedule.objects.select_related("schedule").get(sync=NAME)


def fails(*words: str) -> None:
    before = kept().changed_at
    with pytest.raises(SystemExit) as end:
        call_command(*words)
    assert end.value.code == 2
    assert kept().changed_at == before
    assert not Activity.objects.exists()


def test_a_schedule_is_paused_and_resumed(capsys: Capture) -> None:
    call_command("schedule_pause", NAME, "--for=2h", "--reason=moving rds1")
    found = kept()
    assert found.paused_until is not None
    assert abs(found.paused_until - database_now() - timedelta(hours=2)) < timedelta(minutes=1)
    assert found.pause_reason == "moving rds1"
    said = capsys.readouterr().out
    assert said.startswith("user_routing is paused until ")
    call_command("schedule_resume", NAME)
    assert kept().paused_until is None
    assert "runs at its next scheduled time" in capsys.readouterr().out
    entries = Activity.objects.order_by("pk")
    assert [one.action for one in entries] == ["schedule.paused", "schedule.resumed"]
    for facts in (entries[0].after, entries[1].before):
        assert (facts or {})["pause_reason"] == "moving rds1"
    assert not SyncRun.objects.exists()


def test_what_is_not_paused_is_not_resumed(capsys: Capture) -> None:
    call_command("schedule_resume", NAME)
    assert capsys.readouterr().out == "user_routing is not paused.\n"
    assert not Activity.objects.exists()


@pytest.mark.parametrize("end", [PauseEnd.TOMORROW, PauseEnd.MONDAY])
def test_a_named_end_is_in_the_zone_of_the_settings(settings: Any, end: PauseEnd) -> None:
    settings.RAINBO_TIME_ZONE = "Asia/Tokyo"
    call_command("schedule_pause", NAME, f"--until={end}", "--reason=x")
    assert kept().paused_until == end.after(database_now(), ZoneInfo("Asia/Tokyo"))


@pytest.mark.parametrize(("offset", "hours"), [("", -9), ("+00:00", 0), ("Z", 0)])
def test_a_time_may_have_an_offset(settings: Any, offset: str, hours: int) -> None:
    settings.RAINBO_TIME_ZONE = "Asia/Tokyo"
    end = (database_now() + timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    call_command("schedule_pause", NAME, f"--until={end:%Y-%m-%dT%H:%M}{offset}", "--reason=x")
    assert kept().paused_until == end + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--for=2 hours", "--reason=x"], "no length of time"),
        (["--for=367d", "--reason=x"], "a year at most"),
        (["--until=2020-01-01T08:00", "--reason=x"], "must end in the future"),
        (["--until=9999-12-31T23:59", "--reason=x"], "a year at most"),
        (["--until=friday", "--reason=x"], "use tomorrow, monday or a time"),
        (["--for=2h", "--reason= "], "give a reason"),
        (["--for=2h", f"--reason={'x' * 256}"], "at most 255 characters"),
    ],
)
def test_a_pause_that_can_not_be_is_usage(capsys: Capture, words: list[str], why: str) -> None:
    fails("schedule_pause", NAME, *words)
    assert why in capsys.readouterr().err


def test_a_pause_needs_an_end() -> None:
    with pytest.raises(CommandError, match="required"):
        call_command("schedule_pause", NAME, "--reason=x")


def test_an_unknown_name_lists_those_that_are_known(capsys: Capture) -> None:
    fails("schedule_resume", "user_rooting")
    said = capsys.readouterr().err
    assert "'user_rooting' has no schedule" in said
    assert NAME in said


def test_settings_are_changed_and_recorded(capsys: Capture) -> None:
    call_command("schedule_set", NAME, "--cron=*/5  * * * *", "--grace=90", "--note=for now")
    found = kept()
    assert (found.schedule.cron, found.grace_seconds, found.note) == ("*/5 * * * *", 90, "for now")
    assert capsys.readouterr().out == "user_routing is on: every 5 minutes.\n"
    (entry,) = Activity.objects.all()
    assert entry.action == "schedule.changed"
    assert entry.after == {"cron": "*/5 * * * *", "grace_seconds": 90, "note": "for now"}
    call_command("schedule_set", NAME, "--grace=default")
    assert kept().grace_seconds is None


def test_it_prints_what_the_docs_say(capsys: Capture) -> None:
    call_command("schedule_set", "ghost_users", "--cron", "30 2 * * *")
    shown = capsys.readouterr().out
    page = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")
    assert f'schedule_set ghost_users --cron "30 2 * * *"\n{shown}' in page


def test_it_is_switched_off_and_on(capsys: Capture) -> None:
    call_command("schedule_set", NAME, "--off")
    assert kept().schedule.repeats == OFF
    assert capsys.readouterr().out == "user_routing is off: every 15 minutes.\n"
    call_command("schedule_set", NAME, "--off")
    assert "already" in capsys.readouterr().out
    call_command("schedule_set", NAME, "--on")
    assert kept().schedule.repeats != OFF
    actions = Activity.objects.order_by("pk").values_list("action", flat=True)
    assert [*actions] == ["schedule.disabled", "schedule.enabled"]


def test_warnings_are_read_before_they_are_accepted(capsys: Capture) -> None:
    rarely = ["schedule_set", NAME, "--cron=0 2 * * *"]
    fails(*rarely)
    said = capsys.readouterr().err
    assert "Readers may see what is" in said
    assert "--accept-warnings" in said
    call_command(*rarely, "--accept-warnings")
    assert kept().schedule.cron == "0 2 * * *"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--cron=61 * * * *"], "“61” is invalid as minute"),
        (["--cron=* * *"], "five fields"),
        (["--grace=soon"], "no number of seconds"),
        ([f"--note={'x' * 2001}"], "at most 2,000 characters"),
    ],
)
def test_a_setting_that_can_not_be_is_usage(capsys: Capture, words: list[str], why: str) -> None:
    fails("schedule_set", NAME, *words)
    assert why in capsys.readouterr().err


def test_the_document_is_that_of_the_list(capsys: Capture) -> None:
    call_command("schedule_pause", NAME, "--for=1h", "--reason=x", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["sync"], found["pause_reason"]) == (NAME, "x")
