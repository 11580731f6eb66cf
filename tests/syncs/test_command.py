from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.core.management import call_command

from syncs import lease
from syncs.command import SyncCommand
from syncs.errors import ConnectionFailed
from syncs.models import SyncRun, TargetState
from syncs.run import Run
from syncs.specs import Target
from tests.syncs.conftest import Make

pytestmark = pytest.mark.django_db(transaction=True)


class Probe(SyncCommand):
    syncs = ("probe",)
    offers = frozenset({"accept_held", "failed_from"})


def settling(*states: TargetState) -> Callable[[Run], None]:
    def function(run: Run) -> None:
        run.expect(Target(str(n), f"instance {n}") for n in range(len(states)))
        for number, state in enumerate(states):
            error = ConnectionFailed("no route") if state == TargetState.FAILED else None
            run.settle(str(number), state, error=error, read=1234, seconds=0.5)

    return function


def call(*words: str) -> int:
    try:
        call_command(Probe(), *words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([TargetState.SUCCEEDED], 0),
        ([TargetState.FAILED], 1),
        ([TargetState.SUCCEEDED, TargetState.FAILED], 3),
        ([TargetState.HELD], 3),
    ],
)
def test_the_exit_code_tells_how_it_went(
    make_sync: Make, states: list[TargetState], code: int
) -> None:
    make_sync(settling(*states))
    assert call() == code


def test_a_line_per_instance_and_a_closing_line(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(settling(TargetState.SUCCEEDED))
    call()
    first, last = capsys.readouterr().out.splitlines()
    assert first.endswith("Z instance 0: succeeded; read 1,234 in 0.5 s")
    run = SyncRun.objects.get()
    assert last.startswith("probe succeeded in ")
    assert last.endswith(f"Run {run.pk}.")


def test_what_failed_is_told_on_stderr_with_the_command_that_retries_it(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(settling(TargetState.SUCCEEDED, TargetState.FAILED))
    call("--quiet")
    said = capsys.readouterr()
    assert said.out == ""
    run = SyncRun.objects.get()
    assert "instance 1: failed; read 1,234 in 0.5 s; no route" in said.err
    assert said.err.rstrip().endswith(f"python manage.py sync_probe --failed-from {run.pk}")


def test_what_is_held_comes_with_the_command_that_accepts_it(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(settling(TargetState.HELD))
    call()
    run = SyncRun.objects.get()
    assert f"--accept-held {run.pk} --reason" in capsys.readouterr().err


def test_json_stands_alone_on_stdout(make_sync: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make_sync(settling(TargetState.SUCCEEDED, TargetState.FAILED))
    call("--json")
    document = json.loads(capsys.readouterr().out)
    assert document["state"] == "partial"
    assert document["targets"][0]["read"] == 1234
    assert document["targets"][0]["added"] is None
    assert document["targets"][1]["error"] == "no route"


def test_quiet_is_silent_when_all_is_well(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(settling(TargetState.SUCCEEDED))
    assert call("--quiet") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_a_running_sync_is_met_with_75(make_sync: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make_sync(settling())
    holder = SyncRun.objects.create(sync="probe", trigger="command")
    lease.claim(holder)
    assert call() == 75
    assert f"run {holder.pk} is running already" in capsys.readouterr().err


def test_nonsense_is_usage(make_sync: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make_sync(settling())
    assert call("--accept-held", "99", "--reason", "x") == 2
    assert capsys.readouterr().err == "probe has no run 99\n"


def test_a_dry_run_says_that_it_was_one(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(settling(TargetState.SUCCEEDED))
    call("--dry-run")
    assert "(dry run: nothing was written)" in capsys.readouterr().out
