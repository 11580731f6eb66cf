from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command

from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.errors import ConnectionFailed
from syncs.models import RunState, SyncRun, TargetState, Trigger
from tests.syncs.conftest import Make
from tests.syncs.plans import plan

pytestmark = pytest.mark.django_db(transaction=True)


def call(*args: str) -> int:
    try:
        call_command("schedule_test", *args)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_it_runs_now_with_the_options_of_the_schedule(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(lambda run: None)
    plan(options={"targets": ["2"]})
    assert call("probe") == 0
    record = SyncRun.objects.get()
    assert (record.state, record.options) == (RunState.SUCCEEDED, {"targets": ["2"]})
    assert (record.trigger, record.slot) == (Trigger.SCHEDULE, None)
    assert f"Run {record.pk}." in capsys.readouterr().out


def test_it_works_without_a_schedule(make_sync: Make) -> None:
    make_sync(lambda run: None)
    assert call("probe", "--dry-run") == 0
    assert SyncRun.objects.get().options == {"dry_run": True}


def test_a_failure_is_the_exit_code_and_not_retried(make_sync: Make) -> None:
    def failing(run: Run) -> None:
        run.expect([Target("1", "one")])
        run.record_outcome("1", TargetState.FAILED, error=ConnectionFailed("one is away"))

    make_sync(failing)
    plan()
    assert call("probe") == 1
    assert SyncRun.objects.count() == 1


def test_the_document_is_that_of_the_run(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(lambda run: None)
    call("probe", "--json")
    assert json.loads(capsys.readouterr().out)["sync"] == "probe"


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("nothing") == 2
    assert "no sync is named 'nothing'" in capsys.readouterr().err


def test_without_terminal_the_name_must_be_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert call() == 2
    assert "give the name of a sync: instance_health" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["probe", "5"])
def test_on_a_terminal_it_asks(
    make_sync: Make, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    make_sync(lambda run: None)
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    assert call() == 0
    assert SyncRun.objects.get().sync == "probe"


@pytest.mark.parametrize("answer", ["²", "0", "99", ""])
def test_an_answer_that_names_no_sync_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    assert call() == 2
    assert "no sync is named" in capsys.readouterr().err
