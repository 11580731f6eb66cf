"""Names, reasons and errors come from people and servers: none of them steers a terminal."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from django_q.models import Schedule

from common.terminal import printable
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.errors import ConnectionFailed
from syncs.models import RunState, SyncSchedule, TargetState, WorkerEvent
from tests.caches import query
from tests.rows import ended_run
from tests.syncs.conftest import Make
from tests.syncs.plans import plan

pytestmark = pytest.mark.django_db
EVIL = "\x1b]0;owned\x07 \x9b2J \u202e \r"


def failing(run: Run) -> None:
    run.expect([Target("1", f"one {EVIL}")])
    run.record_outcome("1", TargetState.FAILED, error=ConnectionFailed(f"away {EVIL}\nall is well"))


@pytest.fixture(autouse=True)
def evil_everywhere(make_sync: Make) -> None:
    query("ALTER TABLE django_q_schedule DROP CONSTRAINT only_our_schedules")
    make_sync(failing)
    plan()
    Schedule.objects.create(
        name=EVIL, func="syncs.tasks.run_slot", args=f"({EVIL}", cron="0 0 1 1 *", next_run=Now()
    )
    WorkerEvent.objects.create(host=EVIL, message=EVIL)
    SyncSchedule.objects.update(pause_reason=EVIL, paused_until=Now() + timedelta(hours=1))


@pytest.mark.parametrize("json", [(), ("--json",)])
@pytest.mark.parametrize(
    "command",
    [
        ("schedule_list",),
        ("schedule_run",),
        ("schedule_test", "probe"),
        ("setup_schedules", "--check"),
        ("setup_schedules",),
        ("worker_health",),
        ("rainbo_status",),
        ("cancel_run", "RUN"),
    ],
    ids=" ".join,
)
def test_what_others_wrote_is_shown_and_not_obeyed(
    capfd: pytest.CaptureFixture[str], command: tuple[str, ...], json: tuple[str, ...]
) -> None:
    ended = ended_run("probe", RunState.FAILED, error=EVIL)
    words: list[Any] = [ended.pk if word == "RUN" else word for word in command]
    with suppress(SystemExit):
        call_command(*words, *json)
    said = "".join(capfd.readouterr())
    assert said
    assert printable(said) == said
    assert "\nall is well" not in said
