from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command
from django_q.models import Schedule

from syncs.schedules import store
from syncs.schedules.store import OFF
from syncs.transfer.session import open_session

pytestmark = pytest.mark.django_db


def setup(capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
    call_command("setup_schedules", *flags)
    return capsys.readouterr().out.splitlines()


def test_it_says_what_it_created_and_what_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    lines = setup(capsys)
    assert lines[2] == "user_routing: has no schedule: created, every 15 minutes"
    assert lines[4] == "Schedules fire while manage.py qcluster runs:"
    assert lines[-1] == "ghost_users every day at 02:00 UTC"


def test_it_says_what_a_person_changed(capsys: pytest.CaptureFixture[str]) -> None:
    setup(capsys)
    Schedule.objects.filter(name="user_routing").update(cron="7 * * * *", repeats=OFF)
    setup(capsys)
    lines = setup(capsys)
    assert len(lines) == 5
    assert lines[3] == "user_routing every hour at minute 7 (switched off)"


def test_a_check_only_tells(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_code:
        setup(capsys, "--check")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "instance_health: has no schedule"
    assert lines[-1] == "4 problems found. Run setup_schedules without --check to repair them."
    assert exit_code.value.code == 1
    assert not Schedule.objects.exists()


def test_a_check_is_content_when_all_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    setup(capsys)
    assert setup(capsys, "--check")[0] == "Schedules fire while manage.py qcluster runs:"


def test_it_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    first = json.loads("\n".join(setup(capsys, "--json")))
    assert first["agrees"] is True
    assert first["findings"][0] == {
        "subject": "instance_health",
        "wrong": "has no schedule",
        "remedy": "created, every minute",
    }
    assert json.loads("\n".join(setup(capsys, "--json", "--check"))) == {
        "findings": [],
        "agrees": True,
    }


@pytest.mark.django_db(transaction=True)
def test_it_does_not_wait_for_a_session_that_sleeps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_TIMEOUT_MS", 200)
    setup(capsys)
    with open_session("test") as idle, idle.transaction():
        idle.execute("SELECT 1 FROM django_q_schedule FOR UPDATE")
        with pytest.raises(CommandError, match="holds the schedules' rows"):
            setup(capsys, "--check")
