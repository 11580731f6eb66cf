from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from django_q.models import Schedule

from common.clock import database_now
from syncs.models import RunState, SyncRun, SyncSchedule
from tests.rows import ended_run
from tests.syncs.conftest import Make
from tests.syncs.plans import NOON, of_slot, plan

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def probe(make_sync: Make) -> None:
    make_sync(lambda run: None)


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> Any:
    """The line of `probe`."""

    def read() -> str:
        call_command("schedule_list")
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if line.startswith("probe"))

    return read


def entry(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    call_command("schedule_list", "--json")
    found = json.loads(capsys.readouterr().out)["schedules"]
    return next(item for item in found if item["sync"] == "probe")


def test_a_sync_without_schedule_says_so(line: Any) -> None:
    assert "no schedule; never run" in line()


def test_a_schedule_tells_rhythm_last_run_and_next_time(line: Any) -> None:
    plan("*/15 * * * *")
    record = ended_run("probe")
    shown = line()
    assert "15 minutes" in shown
    assert f"run {record.pk} succeeded 5 min ago" in shown
    assert "next in" in shown


def test_what_runs_now_is_told(line: Any) -> None:
    plan()
    record = ended_run("probe", RunState.RUNNING)
    assert f"run {record.pk} unresponsive" in line()


def test_a_retry_that_waits_is_told(line: Any, capsys: pytest.CaptureFixture[str]) -> None:
    plan()
    later = database_now() + timedelta(minutes=5, seconds=30)
    retry = of_slot(NOON, RunState.QUEUED, attempt=2, not_before=later)
    assert f"attempt 2 in 5 min (run {retry.pk})" in line()
    assert entry(capsys)["retry"] == {
        "run": retry.pk,
        "attempt": 2,
        "not_before": later.isoformat(),
    }


def test_a_pause_is_told_with_its_reason(line: Any, capsys: pytest.CaptureFixture[str]) -> None:
    plan()
    SyncSchedule.objects.update(paused_until=Now() + timedelta(hours=2), pause_reason="rds2 moves")
    assert "paused until" in line()
    assert "rds2 moves" in line()
    found = entry(capsys)
    assert found["pause_reason"] == "rds2 moves"
    assert found["paused_until"]


def test_one_that_is_off_is_told(line: Any) -> None:
    plan()
    Schedule.objects.update(repeats=0)
    assert line().endswith("switched off")


def test_the_document_tells_all(capsys: pytest.CaptureFixture[str]) -> None:
    plan("*/15 * * * *")
    record = ended_run("probe", RunState.FAILED, error="it broke")
    found = entry(capsys)
    assert (found["cron"], found["off"], found["paused_until"]) == ("*/15 * * * *", False, None)
    assert found["last_run"]["run"] == record.pk
    assert found["last_run"]["error"] == "it broke"
    assert found["next_slot"]
    assert SyncRun.objects.count() == 1
