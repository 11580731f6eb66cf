from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.core.management import call_command, get_commands, load_command_class

from syncs.engine import lease, registry
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.errors import ConnectionFailed
from syncs.management.base import SyncCommand
from syncs.models import SyncRun, TargetState
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
            run.record_outcome(str(number), state, error=error, read=1234, seconds=0.5)

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


def test_all_failed_is_retried_like_some(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(settling(TargetState.FAILED))
    call()
    assert f"sync_probe --failed-from {SyncRun.objects.get().pk}" in capsys.readouterr().err


def test_a_dry_run_is_retried_dry(make_sync: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make_sync(settling(TargetState.FAILED))
    call("--dry-run")
    pk = SyncRun.objects.get().pk
    assert f"sync_probe --failed-from {pk} --dry-run" in capsys.readouterr().err


def test_what_is_held_beside_a_success_is_no_failure_to_retry(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(settling(TargetState.SUCCEEDED, TargetState.HELD))
    call()
    assert "To retry" not in capsys.readouterr().err


def test_commands_are_told_as_this_place_starts_them(
    make_sync: Make, capsys: pytest.CaptureFixture[str], settings: Any
) -> None:
    settings.RAINBO_MANAGE_COMMAND = 'make manage CMD="{}"'
    make_sync(settling(TargetState.FAILED))
    call()
    pk = SyncRun.objects.get().pk
    line = f'make manage CMD="sync_probe --failed-from {pk}"'
    assert capsys.readouterr().err.rstrip().endswith(line)


def test_what_is_held_is_told_as_a_wish_and_where_to_look(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    def function(run: Run) -> None:
        run.expect([Target("1", "instance 1")])
        run.record_outcome("1", TargetState.HELD, read=900, added=0, changed=0, removed=300)

    make_sync(function)
    call("--quiet")
    said = capsys.readouterr().err
    assert "read 900, would add 0, would change 0, would remove 300" in said
    assert f"/admin/syncs/syncrun/{SyncRun.objects.get().pk}/change/" in said


def test_a_run_that_skipped_all_says_that_nothing_was_due(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(settling(TargetState.SKIPPED))
    assert call() == 0
    assert "nothing was due. Run" in capsys.readouterr().out


@pytest.mark.parametrize("sync", registry.all_syncs(), ids=lambda sync: sync.name)
def test_only_what_a_command_offers_is_told(sync: Sync) -> None:
    name = sync.command.split()[0]
    command = load_command_class(get_commands()[name], name)
    assert isinstance(command, SyncCommand)
    assert ("failed_from" in command.offers) is sync.in_parts


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.mark.parametrize(("style", "times"), [("text", 1), ("json", 2)])
def test_a_failure_is_told_once_to_people(
    make_sync: Make, settings: Any, style: str, times: int
) -> None:
    settings.RAINBO_LOG_FORMAT = style
    log = logging.getLogger("rainbo.run")
    handler = Heard()
    log.addHandler(handler)
    make_sync(settling(TargetState.FAILED))
    call()
    log.removeHandler(handler)
    assert 1 + handler.lines.count("no route") == times
    assert not log.filters


@pytest.mark.parametrize("states", [(TargetState.SUCCEEDED,), (TargetState.FAILED,)])
def test_a_command_looks_its_sync_up_once_and_parses_its_options_once(
    make_sync: Make, monkeypatch: pytest.MonkeyPatch, states: Sequence[TargetState]
) -> None:
    make_sync(settling(*states))
    calls: Counter[str] = Counter()
    get, from_json = registry.get, Options.from_json

    def counting_get(name: str) -> Sync:
        calls["looked up"] += 1
        return get(name)

    def counting_from_json(stored: dict[str, Any]) -> Options:
        calls["parsed"] += 1
        return from_json(stored)

    monkeypatch.setattr(registry, "get", counting_get)
    monkeypatch.setattr(Options, "from_json", counting_from_json)
    call("--json")
    assert calls == {"looked up": 1, "parsed": 1}
