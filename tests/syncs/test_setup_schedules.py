from __future__ import annotations

import pytest
from django.core.management import call_command
from django_q.models import Schedule

from syncs.schedules import PAUSED

pytestmark = pytest.mark.django_db


def setup(capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
    call_command("setup_schedules", *flags)
    return capsys.readouterr().out.splitlines()


def test_it_says_what_it_created(capsys: pytest.CaptureFixture[str]) -> None:
    lines = setup(capsys)
    assert len(lines) == 5
    assert lines[2].startswith("user_routing: created (*/15 * * * * UTC, next ")
    assert lines[3] == "ghost_users: created (0 2 * * * UTC, next 02:00)"
    assert lines[4].startswith("4 of 4 default schedules created.")


def test_it_says_what_a_person_changed(capsys: pytest.CaptureFixture[str]) -> None:
    setup(capsys)
    Schedule.objects.filter(name="user_routing").update(cron="*/5 * * * *", repeats=PAUSED)
    Schedule.objects.filter(name="ghost_users").delete()
    lines = setup(capsys)
    assert lines[2] == "user_routing: kept (*/5 * * * * UTC, paused)"
    assert lines[3].startswith("ghost_users: left out, because a person removed it")
    assert lines[4].startswith("0 of 4")
    assert setup(capsys, "--restore")[3].startswith("ghost_users: created")
