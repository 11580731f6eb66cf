from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django_q.models import OrmQ, Schedule

from syncs.models import Heartbeat, Lease, RunState, SyncRun, Trigger, WorkerEvent
from syncs.schedules import store
from syncs.status import queries
from tests.caches import query

pytestmark = pytest.mark.django_db(transaction=True)  # the probe asks from a thread of its own
MINUTE = timedelta(minutes=1)


def heartbeat(ago: timedelta = timedelta()) -> None:
    Heartbeat.objects.create(worker="host:1", at=Now() - ago)


def queued_task(ago: timedelta) -> None:
    OrmQ.objects.create(key="rainbo", payload="x", lock=Now() - ago)
    query("UPDATE django_q_ormq SET rainbo_since = lock")


def run(state: RunState, trigger: Trigger = Trigger.SCHEDULE, ago: timedelta = MINUTE) -> SyncRun:
    record = SyncRun.objects.create(sync="probe", state=state, trigger=trigger)
    SyncRun.objects.filter(pk=record.pk).update(created_at=Now() - ago)
    return record


def lease(record: SyncRun, lasts: timedelta = MINUTE) -> None:
    Lease.objects.create(sync=record.sync, run=record, expires_at=Now() + lasts)


def in_hand_of(pid: int, record: SyncRun) -> None:
    SyncRun.objects.filter(pk=record.pk).update(host="host", pid=pid)


def health(*words: str) -> tuple[int, str]:
    """The command's exit code and what it says; the probe must agree."""
    out, code = io.StringIO(), 0
    try:
        call_command("worker_health", *words, stdout=out, stderr=out)
    except SystemExit as end:
        code = int(str(end.code))
    assert Client().get("/health/worker").status_code == (503 if code else 200)
    return code, out.getvalue()


def test_nobody_ever_reported() -> None:
    code, said = health()
    assert code == 1
    assert "no worker has ever reported: start manage.py schedule_work" in said


def test_a_worker_that_reports_is_fine() -> None:
    heartbeat(2 * MINUTE)
    code, said = health()
    assert (code, said[:37]) == (0, "Workers are healthy. Last heartbeat: ")


def test_silence_of_more_than_three_minutes() -> None:
    heartbeat(3 * MINUTE + timedelta(seconds=1))
    code, said = health()
    assert code == 1
    assert "no worker has reported since" in said


def test_a_sign_of_life_from_the_future_is_none() -> None:
    """The database's clock stepped back; whoever lives reports again soon."""
    heartbeat(-60 * MINUTE)
    code, said = health()
    assert code == 1
    assert "no worker has ever reported" in said
    assert queries.worker_state().last_heartbeat is None


def test_a_task_that_waits_longer_than_five_minutes() -> None:
    heartbeat()
    queued_task(4 * MINUTE)
    assert health()[0] == 0
    queued_task(6 * MINUTE)
    code, said = health()
    assert code == 1
    assert "the oldest queued item has waited for 6 min" in said


def test_a_task_of_a_server_whose_clock_is_behind_is_as_young_as_it_is() -> None:
    heartbeat()
    OrmQ.objects.create(key="rainbo", payload="x", lock=Now() - 60 * MINUTE)
    assert health()[0] == 0


@pytest.mark.parametrize(("minutes", "code"), [(-1, 0), (4, 0), (6, 1)])
def test_a_schedule_that_does_not_fire(minutes: int, code: int) -> None:
    heartbeat()
    store.create("probe", "0 0 1 1 *")
    Schedule.objects.update(next_run=Now() - minutes * MINUTE)
    assert health()[0] == code
    Schedule.objects.update(repeats=store.OFF)
    assert health()[0] == 0


def test_a_task_that_a_worker_has_in_hand_does_not_wait() -> None:
    heartbeat()
    queued_task(-35 * MINUTE)
    assert health()[0] == 0


def test_a_run_that_waits_longer_than_five_minutes() -> None:
    heartbeat()
    run(RunState.QUEUED, Trigger.BUTTON, 6 * MINUTE)
    assert health()[0] == 1


@pytest.mark.parametrize("minutes", [-1, 4])
def test_a_retry_waits_from_its_own_time(minutes: int) -> None:
    heartbeat()
    record = run(RunState.QUEUED, ago=10 * MINUTE)
    SyncRun.objects.filter(pk=record.pk).update(not_before=Now() - minutes * MINUTE)
    assert health()[0] == 0


def test_a_command_that_waits_is_not_the_workers_business() -> None:
    heartbeat()
    run(RunState.QUEUED, Trigger.COMMAND, 6 * MINUTE)
    assert health()[0] == 0


def test_a_worker_that_is_busy_with_a_run_is_excused() -> None:
    heartbeat(10 * MINUTE)
    queued_task(10 * MINUTE)
    record = run(RunState.RUNNING)
    in_hand_of(1, record)
    lease(record)
    assert health() == (0, f"Workers are healthy. Run {record.pk} is in progress.\n")


@pytest.mark.parametrize("trigger", [Trigger.SCHEDULE, Trigger.COMMAND])
def test_a_lost_run_or_a_commands_run_excuses_nobody(trigger: Trigger) -> None:
    heartbeat(10 * MINUTE)
    record = run(RunState.RUNNING, trigger)
    in_hand_of(1, record)
    lease(record, MINUTE if trigger == Trigger.COMMAND else -MINUTE)
    assert health()[0] == 1


def test_a_run_that_schedule_run_has_in_hand_excuses_no_worker() -> None:
    heartbeat(10 * MINUTE)
    record = run(RunState.RUNNING)
    in_hand_of(2, record)
    lease(record)
    assert health()[0] == 1


def test_patience_is_a_setting(settings: object) -> None:
    settings.RAINBO_HEARTBEAT_TIMEOUT = 30  # type: ignore[attr-defined]
    heartbeat(MINUTE)
    assert health()[0] == 1


def test_the_document_names_times_and_restarts() -> None:
    heartbeat()
    WorkerEvent.objects.create(host="web1", message="they were stuck")
    code, said = health("--json")
    document = json.loads(said)
    assert (code, document["status"], document["reason"]) == (0, "ok", "")
    assert document["last_heartbeat"]
    assert document["busy_with_run"] is None
    assert document["last_events"][0]["message"] == "they were stuck"


def test_it_takes_few_queries(django_assert_max_num_queries: object) -> None:
    heartbeat()
    with django_assert_max_num_queries(1, connection=connection):  # type: ignore[operator]
        call_command("worker_health", stdout=io.StringIO())


def test_a_crontab_beside_a_dead_worker_hides_nothing() -> None:
    heartbeat(4 * MINUTE)
    Heartbeat.objects.create(worker="host:schedule_run", at=Now())
    code, said = health()
    assert code == 1
    assert "no worker has reported since" in said
    assert not queries.worker_state().by_crontab


def test_where_a_crontab_does_the_work_no_worker_is_missed_after_a_day() -> None:
    Heartbeat.objects.create(worker="host:schedule_run", at=Now())
    assert queries.worker_state().by_crontab
    heartbeat(25 * 60 * MINUTE)
    assert queries.worker_state().by_crontab
    Heartbeat.objects.filter(worker="host:schedule_run").update(at=Now() - 4 * MINUTE)
    assert not queries.worker_state().by_crontab
