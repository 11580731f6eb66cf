from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler
from django_q.tasks import async_task

from common.clock import database_now
from syncs import tasks
from syncs.dispatch import due
from syncs.engine import registry
from syncs.engine.registry import Sync
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.errors import ConnectionFailed
from syncs.models import Heartbeat, RunState, SyncRun, TargetState, Trigger
from syncs.schedules import store
from syncs.workers import heartbeat
from tests.caches import query
from tests.syncs.conftest import Make
from tests.syncs.plans import NOON, YEARLY, let_pass, of_slot, plan

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def probe(make_sync: Make) -> None:
    make_sync(settling)


def settling(run: Run) -> None:
    run.expect([Target("1", "one")])
    run.record_outcome("1", TargetState.SUCCEEDED)


def failing(run: Run) -> None:
    run.expect([Target("1", "one")])
    run.record_outcome("1", TargetState.FAILED, error=ConnectionFailed("one is away"))


def call(*words: str) -> int:
    try:
        call_command("schedule_run", *words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def make_due(ago: timedelta = timedelta(seconds=30)) -> datetime:
    Schedule.objects.update(next_run=Now() - ago)
    planned: datetime = Schedule.objects.values_list("next_run", flat=True)[0]
    return planned


def test_what_is_due_runs_once(capsys: pytest.CaptureFixture[str]) -> None:
    row = plan()
    planned = make_due()
    assert (call(), call()) == (0, 0)
    record = SyncRun.objects.get()
    assert (record.state, record.slot, record.trigger) == (
        RunState.SUCCEEDED,
        planned,
        Trigger.SCHEDULE,
    )
    row.refresh_from_db()
    assert (row.next_run.month, row.next_run.day) == (1, 1)
    out = capsys.readouterr().out
    assert f"probe succeeded in {record.seconds:.1f} s. Run {record.pk}." in out
    assert "Nothing was due." in out


@pytest.mark.parametrize("fields", [{"repeats": 0}, {"next_run": Now() + timedelta(hours=1)}])
def test_what_is_not_due_does_not_run(fields: dict[str, object]) -> None:
    plan()
    make_due()
    Schedule.objects.update(**fields)
    assert call() == 0
    assert not SyncRun.objects.exists()


def test_a_late_start_runs_once_and_records_what_was_missed() -> None:
    plan("* * * * *")
    make_due(timedelta(minutes=4))
    assert call() == 0
    states = list(SyncRun.objects.order_by("slot").values_list("state", flat=True))
    assert states[-1] == RunState.SUCCEEDED
    assert set(states[:-1]) == {RunState.SKIPPED}
    assert len(states) in (5, 6)


def test_what_waits_is_run_too_but_not_before_its_time() -> None:
    plan()
    retry = of_slot(NOON, RunState.QUEUED, attempt=2, not_before=NOON + timedelta(days=3650))
    wanted = SyncRun.objects.create(sync="probe", trigger=Trigger.BUTTON)
    of_command = SyncRun.objects.create(sync="probe", trigger=Trigger.COMMAND)
    assert call() == 0
    for record in (retry, wanted, of_command):
        record.refresh_from_db()
    assert (retry.state, wanted.state) == (RunState.QUEUED, RunState.SUCCEEDED)
    assert of_command.state == RunState.QUEUED
    let_pass(retry)
    call()
    retry.refresh_from_db()
    assert retry.state == RunState.SUCCEEDED


def test_a_failure_is_the_exit_code_and_is_retried_later(
    make_sync: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sync(failing)
    plan()
    make_due()
    assert call("--quiet") == 1
    assert "failed" in capsys.readouterr().err, "cron mails only what is said"
    assert SyncRun.objects.get(state=RunState.QUEUED).attempt == 2
    assert call() == 0


def test_a_planned_time_that_meets_a_run_is_no_failure() -> None:
    plan()
    make_due()
    other = SyncRun.objects.create(sync="probe", state=RunState.RUNNING, trigger=Trigger.COMMAND)
    query(
        "INSERT INTO syncs_lease (sync, token, run_id, expires_at) "
        "VALUES ('probe', 1, %s, clock_timestamp() + interval '1 min')",
        other.pk,
    )
    assert call() == 0
    assert SyncRun.objects.get(trigger=Trigger.SCHEDULE, attempt=1).met == other


def test_the_document_has_all_runs(capsys: pytest.CaptureFixture[str]) -> None:
    plan()
    make_due()
    call("--json")
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (run["sync"], run["state"], run["attempt"]) == ("probe", "succeeded", 1)
    call("--json")
    assert json.loads(capsys.readouterr().out) == {"runs": []}


def test_quiet_is_silent_when_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    plan()
    make_due()
    assert (call("--quiet"), call("--quiet")) == (0, 0)
    assert "".join(capsys.readouterr()) == ""


def test_it_is_a_sign_of_life_of_its_own() -> None:
    call()
    call()
    assert Heartbeat.objects.get().worker.endswith(":schedule_run")


def test_a_malformed_row_is_told_and_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    registry.register(Sync("other", "Other", settling, list, YEARLY, order=8))
    plan()
    plan(sync="other")
    make_due()
    query("ALTER TABLE django_q_schedule DROP CONSTRAINT only_our_schedules")
    try:
        Schedule.objects.filter(name="other").update(args="(rds=2)")
        assert call() == 1
    finally:
        Schedule.objects.filter(name="other").delete()
        query(CONSTRAINT)
    assert "A schedule was skipped: other is invalid" in capsys.readouterr().err
    assert SyncRun.objects.get().sync == "probe"


CONSTRAINT = """
    ALTER TABLE django_q_schedule ADD CONSTRAINT only_our_schedules CHECK (
        func = 'syncs.tasks.run_slot' AND args ~ '^\\(''[a-z_]{1,64}'',\\)$'
        AND coalesce(kwargs, '') IN ('', '{}') AND coalesce(hook, '') = ''
        AND schedule_type = 'C' AND intended_date_kwarg = 'slot'
        AND func IS NOT NULL AND args IS NOT NULL AND intended_date_kwarg IS NOT NULL)"""


def test_of_many_at_once_beside_a_scheduler_one_runs_the_slot() -> None:
    plan()
    planned = make_due()
    ran: list[int] = []
    complaints: list[str] = []

    def execute(record: SyncRun) -> SyncRun:
        if record.move(RunState.RUNNING, expect=(RunState.QUEUED,)):
            ran.append(record.pk)
        return record

    def act(number: int) -> None:
        try:
            if number % 2:
                scheduler()
            else:
                due.run_due(execute, complaints.append)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(16)))
    queued = query("SELECT count(*) FROM django_q_ormq")[0][0]
    assert not complaints
    assert len(ran) + queued == 1
    assert SyncRun.objects.filter(slot=planned).count() == len(ran)
    assert Schedule.objects.filter(next_run__gt=F("next_run") - timedelta(1)).count() == 1


def rung_long_ago() -> None:
    OrmQ.objects.update(lock=Now() - timedelta(seconds=61))


def ring_for(slot: datetime) -> None:
    async_task(store.FUNCTION, "probe", **{store.SLOT: slot.isoformat()})


def test_rings_without_a_worker_do_not_pile_up() -> None:
    plan()
    asked = SyncRun.objects.create(sync="probe", trigger=Trigger.BUTTON)
    tasks.enqueue(asked)
    heartbeat.request("elsewhere", 1)
    OrmQ.objects.create(key="rainbo", payload="of another key", lock=Now())
    call()
    asked.refresh_from_db()
    assert asked.state == RunState.SUCCEEDED
    assert OrmQ.objects.count() == 3
    rung_long_ago()
    assert call() == 0
    assert not OrmQ.objects.exists()


def test_a_planned_time_that_no_worker_took_is_run() -> None:
    plan()
    ring_for(NOON)
    assert call() == 0
    assert not SyncRun.objects.exists(), "a worker may yet take it"
    rung_long_ago()
    assert (call(), call()) == (0, 0)
    record = SyncRun.objects.get()
    assert (record.slot, record.state) == (NOON, RunState.SUCCEEDED)


def test_what_a_worker_has_fetched_is_left_to_it() -> None:
    plan()
    ring_for(NOON)
    OrmQ.objects.update(lock=Now() + timedelta(minutes=30))
    call()
    assert OrmQ.objects.count() == 1
    assert not SyncRun.objects.exists()


def test_a_planned_time_that_fired_and_got_lost_is_run() -> None:
    slot = (database_now() - timedelta(minutes=30)).replace(second=0, microsecond=0)
    plan(f"{slot.minute} * * * *")
    assert call() == 0
    assert SyncRun.objects.get().slot == slot


def test_a_planned_time_that_is_due_and_was_rung_for_runs_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan()
    ring_for(make_due())
    rung_long_ago()
    call("--json")
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 1
    assert SyncRun.objects.get().state == RunState.SUCCEEDED


def test_a_ring_for_a_sync_that_is_no_more_is_told_once() -> None:
    async_task(store.FUNCTION, "gone", **{store.SLOT: NOON.isoformat()})
    rung_long_ago()
    assert (call(), call()) == (1, 0)


def occupy() -> SyncRun:
    """A run of the sync is in progress."""
    other = SyncRun.objects.create(sync="probe", state=RunState.RUNNING, trigger=Trigger.COMMAND)
    query(
        "INSERT INTO syncs_lease (sync, token, run_id, expires_at) "
        "VALUES ('probe', 1, %s, clock_timestamp() + interval '1 min')",
        other.pk,
    )
    return other


def test_what_a_signal_asked_for_waits_for_the_run_that_it_met(
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = occupy()
    asked = SyncRun.objects.create(sync="probe", trigger=Trigger.SIGNAL)
    assert call("--json") == 0
    asked.refresh_from_db()
    assert (asked.state, asked.met) == (RunState.QUEUED, other)
    assert json.loads(capsys.readouterr().out) == {"runs": []}
    SyncRun.objects.filter(pk=other.pk).update(state=RunState.SUCCEEDED)
    query("UPDATE syncs_lease SET expires_at = NULL")
    assert call() == 0
    asked.refresh_from_db()
    assert asked.state == RunState.SUCCEEDED


def test_what_is_asked_for_while_it_runs_is_run_before_it_ends(make_sync: Make) -> None:
    def asking(run: Run) -> None:
        if SyncRun.objects.count() == 1:
            SyncRun.objects.create(sync="probe", trigger=Trigger.SIGNAL)
        settling(run)

    make_sync(asking)
    plan()
    make_due()
    assert call() == 0
    assert set(SyncRun.objects.values_list("trigger", "state")) == {
        (Trigger.SCHEDULE, RunState.SUCCEEDED),
        (Trigger.SIGNAL, RunState.SUCCEEDED),
    }
