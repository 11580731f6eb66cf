from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import F
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage

from syncs import tasks
from syncs.engine import registry, runs
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.engine.run import Run
from syncs.models import Heartbeat, RunState, SyncRun, Trigger
from syncs.schedules import store
from syncs.status.queries import worker_state
from tests.caches import query

pytestmark = pytest.mark.django_db(transaction=True)

SLOT = "2026-11-22T12:00:00+00:00"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The runs that a small sync named `small` has made."""
    made: list[int] = []

    def small(run: Run) -> None:
        made.append(run.record.pk)

    sync = Sync("small", "Small", small, targets=list, cron="0 2 * * *", order=9)
    monkeypatch.setitem(registry._registry, "small", sync)
    return made


def queued(trigger: Trigger = Trigger.BUTTON, **fields: object) -> SyncRun:
    return SyncRun.objects.create(sync="small", trigger=trigger, **fields)


def age(record: SyncRun, seconds: int = 90) -> None:
    SyncRun.objects.filter(pk=record.pk).update(
        created_at=F("created_at") - timedelta(seconds=seconds)
    )


def queued_runs() -> list[int]:
    """The runs for which the queue holds a task."""
    tasks_ = [SignedPackage.loads(row.payload) for row in OrmQ.objects.order_by("pk")]
    assert {task["func"] for task in tasks_} <= {tasks.RUN_QUEUED}
    return [task["args"][0] for task in tasks_]


def test_a_slot_runs_and_is_noted(ran: list[int]) -> None:
    tasks.run_slot("small", SLOT)
    record = SyncRun.objects.get()
    assert (record.state, record.trigger) == (RunState.SUCCEEDED, Trigger.SCHEDULE)
    assert record.slot == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert ran == [record.pk]


def test_a_slot_that_is_delivered_twice_runs_once(ran: list[int]) -> None:
    tasks.run_slot("small", SLOT)
    tasks.run_slot("small", SLOT)
    assert len(ran) == 1
    assert SyncRun.objects.count() == 1


def test_a_run_that_is_delivered_twice_runs_once(ran: list[int]) -> None:
    record = queued()
    tasks.run_queued(record.pk)
    tasks.run_queued(record.pk)
    assert ran == [record.pk]


def test_a_run_that_is_gone_is_no_error(ran: list[int]) -> None:
    tasks.run_queued(4711)
    assert not ran


def meet_a_running_one() -> SyncRun:
    """Another run holds the lease of `small`."""
    other = queued(state=RunState.RUNNING)
    query(
        "INSERT INTO syncs_lease (sync, token, run_id, expires_at) "
        "VALUES ('small', 1, %s, clock_timestamp() + interval '1 min') RETURNING 1",
        other.pk,
    )
    return other


def test_a_slot_whose_sync_is_running_is_skipped(ran: list[int]) -> None:
    other = meet_a_running_one()
    tasks.run_slot("small", SLOT)
    record = SyncRun.objects.get(slot__isnull=False, attempt=1)
    assert (record.state, record.met) == (RunState.SKIPPED, other)
    assert not ran


def test_what_a_signal_asked_for_waits_for_the_run_that_it_met(ran: list[int]) -> None:
    meet_a_running_one()
    first = runs.request("small", Options(only=("7",)), Trigger.SIGNAL)
    tasks.run_queued(first.pk)
    again = SyncRun.objects.get(state=RunState.QUEUED)
    assert again.options == {"only": ["7"]}
    query("UPDATE syncs_lease SET expires_at = NULL RETURNING 1")
    tasks.run_queued(again.pk)
    assert ran == [again.pk]


def test_what_a_button_asked_for_does_not_wait(ran: list[int]) -> None:
    meet_a_running_one()
    tasks.run_queued(queued().pk)
    assert not SyncRun.objects.filter(state=RunState.QUEUED).exists()


def test_the_workers_hear_of_waiting_runs_again(ran: list[int]) -> None:
    waiting, fresh, of_command = queued(), queued(), queued(Trigger.COMMAND)
    age(waiting)
    age(of_command)
    tasks.run_slot("small", SLOT)
    assert queued_runs() == [waiting.pk]
    assert fresh.is_open


def test_a_run_is_not_rung_before_its_time(ran: list[int]) -> None:
    now = datetime.now(UTC)
    early = queued(not_before=now + timedelta(minutes=5))
    due = queued(not_before=now - timedelta(minutes=1))
    age(early)
    age(due)
    tasks.enqueue_overdue()
    assert queued_runs() == [due.pk]


def test_a_worker_beats_by_the_databases_clock(ran: list[int]) -> None:
    assert worker_state().last_heartbeat is None
    tasks.run_slot("small", SLOT)
    tasks.run_slot("small", SLOT)
    heartbeat = Heartbeat.objects.get()
    assert heartbeat.worker.count(":") == 1
    assert worker_state().last_heartbeat == heartbeat.at
    assert query("SELECT clock_timestamp() - at < interval '10 s' FROM syncs_heartbeat") == [
        (True,)
    ]


def test_an_unknown_sync_is_refused(ran: list[int]) -> None:
    with pytest.raises(Exception, match="no sync is named 'gone'"):
        tasks.run_slot("gone", SLOT)


def test_a_due_schedule_hands_its_planned_time_to_the_task(ran: list[int]) -> None:
    store.create("small", "0 0 1 1 *")
    planned = datetime(2026, 11, 21, 2, tzinfo=UTC)
    Schedule.objects.update(next_run=planned)
    scheduler()
    task = SignedPackage.loads(OrmQ.objects.get().payload)
    assert task["func"] == store.FUNCTION
    getattr(tasks, task["func"].rpartition(".")[2])(*task["args"], **task["kwargs"])
    assert SyncRun.objects.get().slot == planned
    assert ran


def test_a_retry_whose_time_has_come_is_rung_for(ran: list[int]) -> None:
    now = datetime.now(UTC)
    retry = queued(Trigger.SCHEDULE, attempt=2, not_before=now - timedelta(seconds=1))
    tasks.maintain()
    assert queued_runs() == [retry.pk]


def test_every_task_buries_lost_runs(ran: list[int]) -> None:
    dead = queued(state=RunState.RUNNING)
    tasks.run_slot("small", SLOT)
    dead.refresh_from_db()
    assert dead.state == RunState.LOST
