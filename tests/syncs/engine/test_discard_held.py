from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from common import clock
from common.errors import UsageError
from syncs.engine import held, runs
from syncs.engine.options import Options
from syncs.models import (
    Confirmation,
    Heartbeat,
    HeldChange,
    RunState,
    SyncRun,
    TargetState,
    Trigger,
)
from syncs.reports import run_report
from syncs.status import queries
from syncs.status.freshness import Cause
from tests.rows import confirmation, ended_run, instance_row, run_part
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db


def held_run(source_id: str = "7", **fields: Any) -> SyncRun:
    run = ended_run(state=RunState.HELD, **fields)
    run_part(run, state=TargetState.HELD, note="too many", held_counts={"removed": 1})
    HeldChange.objects.create(run=run, target="1", kind="removed", source_id=source_id)
    return run


def accepting(run: SyncRun, **options: Any) -> SyncRun:
    wish = Options(accept_held=run.pk, reason="looked at", **options)
    return runs.request("user_routing", wish, Trigger.BUTTON, "bob")


def test_it_is_a_fact_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    run = held_run()
    call_command("discard_held", run.pk, "--reason", " a wrong\n master ", "--json")
    told = json.loads(capsys.readouterr().out)
    run.refresh_from_db()
    assert (run.state, run.discard_reason) == (RunState.HELD, "a wrong master")
    assert told["discarded"] == {
        "at": run.discarded_at and run.discarded_at.isoformat(),
        "by": run.discarded_by,
        "reason": "a wrong master",
    }
    assert (told["accept"], told["discard"]) == ("", "")
    assert run.log.get().message == f"discarded by {run.discarded_by}: a wrong master"
    assert run.held_changes.count() == 1


def test_it_can_be_accepted_and_discarded_no_more() -> None:
    run = held.discard(held_run().pk, "ann", "a wrong master")
    said = f"run {run.pk} was discarded by ann: a wrong master"
    with pytest.raises(UsageError, match=said):
        accepting(run)
    with pytest.raises(UsageError, match=said):
        held.discard(run.pk, "bob", "again")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"options": {"dry_run": True}}, "was a dry run"),
        ({"state": RunState.RUNNING}, "has not ended yet"),
        ({"superseded_by": 1}, "was superseded by run"),
        ({"accepted_by": 1}, "was accepted by run"),
    ],
)
def test_what_waits_for_nobody_is_not_discarded(fields: dict[str, Any], said: str) -> None:
    run, other = held_run(), held_run()
    values = {name: other if value == 1 else value for name, value in fields.items()}
    SyncRun.objects.filter(pk=run.pk).update(**values)
    with pytest.raises(UsageError, match=said):
        held.discard(run.pk, "ann", "no")


def test_a_run_without_changes_or_without_a_reason() -> None:
    with pytest.raises(UsageError, match="holds nothing"):
        held.discard(ended_run().pk, "ann", "no")
    with pytest.raises(UsageError, match="there is no run 0"):
        held.discard(0, "ann", "no")
    with pytest.raises(UsageError, match="needs a reason"):
        held.discard(held_run().pk, "ann", " ")
    with pytest.raises(UsageError, match="longer than 255"):
        held.discard(held_run().pk, "ann", "x" * 256)


def test_who_accepts_first_wins() -> None:
    run = held_run()
    first = accepting(run)
    said = f"run {run.pk} is being accepted: run {first.pk}, which bob asked for, is queued"
    with pytest.raises(UsageError, match=said):
        accepting(run)
    with pytest.raises(UsageError, match=said):
        held.discard(run.pk, "ann", "no")
    assert accepting(run, dry_run=True).state == RunState.QUEUED
    first.move(RunState.FAILED, expect=(RunState.QUEUED,))
    assert accepting(run).state == RunState.QUEUED


def test_a_repeat_after_a_discard_asks_anew() -> None:
    older = held.discard(held_run().pk, "ann", "a wrong master")
    newer = held_run()
    held.supersede_older(newer)
    older.refresh_from_db()
    assert older.superseded_by is None
    assert held.waiting("user_routing") == [newer]
    assert run_report.accept_command(newer)


def test_status_says_so_only_once_it_is_late() -> None:
    instance_row(1, is_master=True)
    default_schedules()
    confirmation(ago=timedelta())
    run = held_run(ago=timedelta(minutes=1))
    now = clock.database_now()
    assert reason(now).cause is Cause.HELD
    held.discard(run.pk, "ann", "a wrong master")
    assert reason(now) is None
    Confirmation.objects.update(at=now - timedelta(hours=2))
    late = reason(now)
    assert late.cause is Cause.DISCARDED
    assert late.words == f"run {run.pk} held it (too many), ann discarded it: a wrong master"


def reason(now: datetime) -> Any:
    Heartbeat.objects.update_or_create(worker="host:1", defaults={"at": now})
    found = queries.status(now)
    return next(s for s in found.syncs if s.name == "user_routing").targets[0].reason
