from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class

from syncs.engine import registry
from syncs.models import HeldChange, RunState, RunTarget, SyncRun, TargetState, Trigger
from syncs.reports import run_report
from tests.syncs.conftest import Make

pytestmark = pytest.mark.django_db
COMMAND = "python manage.py sync_probe"


@pytest.fixture(autouse=True)
def probe(make_sync: Make) -> None:
    spec = make_sync(lambda run: None)
    registry.register(replace(spec, flags={"only": "--admin", "force": "--force"}))


def run(state: RunState = RunState.FAILED, **options: Any) -> SyncRun:
    return SyncRun.objects.create(
        sync="probe", state=state, trigger=Trigger.COMMAND, options=options
    )


def with_part(record: SyncRun, state: TargetState) -> SyncRun:
    RunTarget.objects.create(run=record, target="1", label="one", state=state)
    return record


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"targets": ["2", "9"]}, " --rds 2 9"),
        ({"targets": ["2"], "failed_from": 7}, " --rds 2 --failed-from 7"),
        ({"only": ["5", "6"], "dry_run": True}, " --admin 5 6 --dry-run"),
        ({"force": True}, " --force"),
        ({"made_up": 1}, ""),
    ],
)
def test_a_run_that_took_nothing_up_is_repeated_as_it_was(
    options: dict[str, Any], words: str
) -> None:
    assert run_report.retry_command(run(**options)) == COMMAND + words


def test_what_failed_is_taken_up_with_the_rest_of_the_options() -> None:
    record = with_part(run(targets=["1", "2"], only=["5"]), TargetState.FAILED)
    assert run_report.retry_command(record) == f"{COMMAND} --failed-from {record.pk} --admin 5"


def test_a_sync_that_is_one_piece_is_repeated_whole() -> None:
    registry.register(replace(registry.get("probe"), in_parts=False, flags={}))
    assert run_report.retry_command(with_part(run(), TargetState.FAILED)) == COMMAND


@pytest.mark.parametrize(
    ("reason", "shown"), [("a tenant moved, #no", "…"), ("rds2 moved (planned)", None)]
)
def test_an_acceptance_that_was_not_used_is_repeated(reason: str, shown: str | None) -> None:
    holding = with_part(run(RunState.HELD), TargetState.HELD)
    HeldChange.objects.create(run=holding, target="1", kind="removed", source_id="7")
    record = run(accept_held=holding.pk, reason=reason)
    words = f"--accept-held {holding.pk} --reason '{shown or reason}'"
    assert run_report.retry_command(record) == f"{COMMAND} {words}"
    SyncRun.objects.filter(pk=holding.pk).update(accepted_by=record)
    assert run_report.retry_command(record) == COMMAND


def test_what_is_repeated_is_what_the_commands_take() -> None:
    for sync in registry.all_syncs():
        name = sync.command.split()[0]
        if name not in get_commands():
            continue
        command: Any = load_command_class(get_commands()[name], name)
        known = set(command.create_parser("manage.py", name)._option_string_actions)
        parts = {sync.part_flag, "--failed-from"} if sync.in_parts else set()
        assert parts | set(sync.flags.values()) | {"--dry-run"} <= known
        assert (sync.part_flag in known) == sync.in_parts
        assert ("--admin" in known) == ("only" in sync.flags)
        assert ("--force" in known) == ("force" in sync.flags)
