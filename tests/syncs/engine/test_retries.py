from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from pytest_django import Settings

from common.errors import RainboError
from syncs import tasks
from syncs.engine import cancellation, closing, lease, retries, runs
from syncs.engine.closing import Ending
from syncs.engine.options import Options
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.errors import Cancelled, ConnectionFailed, ContractBroken, SourceTimeout
from syncs.models import RunState, SyncRun, TargetState, Trigger
from tests.caches import query
from tests.syncs.conftest import Make
from tests.syncs.plans import NOON, YEARLY, at, let_pass, of_slot, plan

pytestmark = pytest.mark.django_db(transaction=True)
Function = Callable[[Run], None]


@pytest.fixture(autouse=True)
def planned() -> None:
    plan(YEARLY)


def run_slot(**options: object) -> SyncRun:
    asked = Options(**options)  # type: ignore[arg-type]
    return runs.execute(runs.request("probe", asked, Trigger.SCHEDULE, slot=NOON))


def retry() -> SyncRun:
    return SyncRun.objects.get(state=RunState.QUEUED)


def settling(**errors: RainboError | None) -> Function:
    """A sync whose targets `one`, `two` … fail with these errors."""

    def function(run: Run) -> None:
        run.expect([Target(key, key) for key in errors])
        for key, error in errors.items():
            state = TargetState.FAILED if error else TargetState.SUCCEEDED
            run.record_outcome(key, state, error=error)

    return function


def raising(error: BaseException, *targets: str) -> Function:
    def function(run: Run) -> None:
        run.expect([Target(key, key) for key in targets])
        raise error

    return function


def test_what_failed_and_can_pass_is_tried_again(make_sync: Make) -> None:
    make_sync(settling(one=None, two=ConnectionFailed("away"), three=SourceTimeout("slow")))
    failed = run_slot(force=True)
    again = retry()
    assert failed.state == RunState.PARTIAL
    assert (again.slot, again.attempt, again.trigger) == (NOON, 2, Trigger.SCHEDULE)
    assert again.options == {"targets": ["two", "three"], "failed_from": failed.pk, "force": True}
    assert again.not_before is not None
    assert failed.finished_at is not None
    wait = again.not_before - failed.finished_at
    assert timedelta(seconds=59) < wait < timedelta(seconds=61)
    told = failed.log.get(message__startswith="attempt").message
    assert told == f"attempt 2 follows at {again.not_before:%H:%M:%S} UTC: run {again.pk}"


def test_what_failed_beside_what_is_held_is_tried_again(make_sync: Make) -> None:
    def function(run: Run) -> None:
        run.expect([Target(key, key) for key in ("one", "two")])
        run.record_outcome("one", TargetState.HELD)
        run.record_outcome("two", TargetState.FAILED, error=ConnectionFailed("away"))

    make_sync(function)
    assert run_slot().state == RunState.HELD
    assert retry().options["targets"] == ["two"]


def test_what_is_held_alone_is_not_tried_again(make_sync: Make) -> None:
    def function(run: Run) -> None:
        run.expect([Target("one", "one")])
        run.record_outcome("one", TargetState.HELD)

    make_sync(function)
    run_slot()
    assert SyncRun.objects.count() == 1


def test_what_can_not_pass_is_left_to_a_person(make_sync: Make) -> None:
    make_sync(settling(one=ContractBroken("no column"), two=ConnectionFailed("away")))
    run_slot()
    assert retry().options["targets"] == ["two"]


@pytest.mark.parametrize(
    "function",
    [
        settling(one=None),
        settling(one=ContractBroken("no column")),
        raising(ContractBroken("no column"), "one"),
        raising(IntegrityError("twice"), "one"),
        raising(ValueError("a fault in the code")),
    ],
)
def test_without_hope_there_is_no_retry(make_sync: Make, function: Function) -> None:
    make_sync(function)
    run_slot()
    assert SyncRun.objects.count() == 1


@pytest.mark.parametrize(
    "error", [OperationalError("away"), SystemExit(1), ConnectionFailed("away")]
)
@pytest.mark.parametrize("targets", [(), ("one", "two")])
def test_a_run_that_broke_off_is_tried_again(
    make_sync: Make, error: BaseException, targets: tuple[str, ...]
) -> None:
    make_sync(raising(error, *targets))
    try:
        run_slot()
    except SystemExit:
        assert isinstance(error, SystemExit)
    assert retry().options.get("targets", []) == list(targets)
    assert ("failed_from" in retry().options) == bool(targets)


@pytest.mark.parametrize(
    ("cron", "count"), [("* * * * *", 0), ("*/15 * * * *", 2), ("0 * * * *", 3), (YEARLY, 3)]
)
def test_as_many_retries_as_fit_before_the_next_slot(
    make_sync: Make, monkeypatch: pytest.MonkeyPatch, cron: str, count: int
) -> None:
    make_sync(settling(one=ConnectionFailed("away")))
    plan_anew(cron)
    now = at("12:00:05")
    monkeypatch.setattr(retries, "database_now", lambda: now)
    run_slot()
    made = 0
    while again := SyncRun.objects.filter(state=RunState.QUEUED).first():
        made += 1
        assert again.not_before is not None
        now = again.not_before + timedelta(seconds=5)
        let_pass(again)
        runs.execute(again)
    assert made == count


def plan_anew(cron: str) -> None:
    from django_q.models import Schedule

    Schedule.objects.all().delete()
    plan(cron)


def test_the_delays_are_a_setting(make_sync: Make, settings: Settings) -> None:
    make_sync(settling(one=ConnectionFailed("away")))
    settings.RAINBO_RETRY_SECONDS = ()
    run_slot()
    assert SyncRun.objects.count() == 1


def test_a_retry_runs_when_its_time_has_come_and_only_then(make_sync: Make) -> None:
    make_sync(settling(one=ConnectionFailed("away")))
    run_slot()
    make_sync(settling(one=None))
    again = retry()
    tasks.run_queued(again.pk)
    assert retry() == again
    let_pass(again)
    tasks.run_queued(again.pk)
    again.refresh_from_db()
    assert again.state == RunState.SUCCEEDED


def test_a_retry_that_meets_a_run_is_put_off(make_sync: Make) -> None:
    make_sync(settling(one=ConnectionFailed("away")))
    run_slot()
    again = retry()
    let_pass(again)
    lease.claim(SyncRun.objects.create(sync="probe", trigger=Trigger.COMMAND))
    assert runs.execute(again).state == RunState.SKIPPED
    assert SyncRun.objects.get(attempt=3).options == again.options


def test_a_run_of_no_slot_is_not_retried(make_sync: Make) -> None:
    make_sync(settling(one=ConnectionFailed("away")))
    runs.execute(runs.request("probe", Options(), Trigger.COMMAND))
    assert SyncRun.objects.count() == 1


@pytest.mark.parametrize(
    ("state", "count"),
    [(RunState.SUCCEEDED, 0), (RunState.FAILED, 0), (RunState.SKIPPED, 1)],
)
def test_a_newer_slot_that_ran_needs_no_retry_of_the_older(
    make_sync: Make, state: RunState, count: int
) -> None:
    make_sync(settling(one=ConnectionFailed("away")))
    newer = of_slot(at("12:15"), state)
    run_slot()
    assert SyncRun.objects.filter(state=RunState.QUEUED).count() == count
    assert newer.slot


def test_a_sync_that_the_code_forgot_is_not_retried(make_sync: Make) -> None:
    gone = SyncRun.objects.create(
        sync="gone", slot=NOON, state=RunState.LOST, trigger=Trigger.SCHEDULE
    )
    assert retries.plan_next_attempt(gone, transient=True) is None


def busy_with(make_sync: Make, first: SyncRun, later: SyncRun) -> None:
    """Execute one run, and the other while it is in progress; then the first one breaks off."""

    def function(run: Run) -> None:
        runs.execute(later)
        raise ConnectionFailed("away")

    make_sync(function)
    runs.execute(first)
    later.refresh_from_db()
    assert (later.state, later.met_id) == (RunState.SKIPPED, first.pk)


def test_a_slot_that_met_a_run_takes_up_its_retry(make_sync: Make) -> None:
    make_sync(settling())
    last = SyncRun.objects.create(sync="probe", trigger=Trigger.SCHEDULE, slot=NOON, attempt=4)
    later = of_slot(NOON + timedelta(hours=1), RunState.QUEUED)
    busy_with(make_sync, last, later)
    again = retry()
    assert (again.slot, again.attempt) == (later.slot, 2)


def test_a_slot_that_met_a_persons_run_is_put_off(make_sync: Make) -> None:
    make_sync(settling())
    narrow = runs.request("probe", Options(targets=("2",)), Trigger.COMMAND)
    slot = of_slot(NOON, RunState.QUEUED)
    busy_with(make_sync, narrow, slot)
    again = retry()
    assert (again.slot, again.attempt, again.options) == (NOON, 2, {})


def under_way(**fields: object) -> SyncRun:
    """A run of the slot at noon that holds the lease."""
    record = of_slot(NOON, RunState.RUNNING, **fields)
    lease.claim(record)
    return record


def asked_for() -> SyncRun:
    """A run of no slot, in progress."""
    return SyncRun.objects.create(sync="probe", trigger=Trigger.COMMAND, state=RunState.RUNNING)


def test_a_slot_that_met_a_retry_of_some_instances_is_put_off(make_sync: Make) -> None:
    make_sync(settling())
    partial = under_way(attempt=3, options={"targets": ["7"], "failed_from": 1})
    later = runs.execute(of_slot(NOON + timedelta(hours=1), RunState.QUEUED))
    assert (later.state, later.met) == (RunState.SKIPPED, partial)
    assert (retry().slot, retry().options) == (later.slot, {})


def test_a_slot_that_met_a_run_of_the_same_instances_counts_on_it(make_sync: Make) -> None:
    make_sync(settling())
    under_way(options={"targets": ["7"]})
    later = of_slot(NOON + timedelta(hours=1), RunState.QUEUED, options={"targets": ["7"]})
    assert runs.execute(later).state == RunState.SKIPPED
    assert not SyncRun.objects.filter(state=RunState.QUEUED).exists()


def test_a_slot_is_put_off_also_where_nothing_is_retried(
    make_sync: Make, settings: Settings
) -> None:
    settings.RAINBO_RETRY_SECONDS = ()
    make_sync(settling())
    lease.claim(asked_for())
    runs.execute(of_slot(NOON, RunState.QUEUED))
    assert retry().attempt == 2


def test_a_slot_that_met_a_run_which_a_person_ends_runs_as_a_whole(make_sync: Make) -> None:
    make_sync(settling())
    first = under_way()
    later = runs.execute(of_slot(NOON + timedelta(hours=1), RunState.QUEUED))
    assert not SyncRun.objects.filter(state=RunState.QUEUED).exists(), "it counts on the first"
    cancellation.cancel(first, "ann")
    closing.close(first, Ending.by(first, Cancelled()), 1.0)
    assert (retry().slot, retry().attempt, retry().options) == (later.slot, 2, {})


def test_what_is_put_off_again_and_again_waits_longer_and_has_all_its_retries(
    make_sync: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sync(settling(one=ConnectionFailed("away")))
    monkeypatch.setattr(retries, "database_now", lambda: NOON)
    record, minutes = of_slot(NOON, RunState.QUEUED), list[float]()
    token = lease.claim(asked_for())
    for turn in range(7):
        if turn == 4:
            lease.release("probe", token)
        runs.execute(record)
        record = retry()
        assert record.not_before is not None
        minutes.append((record.not_before - NOON) / timedelta(minutes=1))
    assert minutes == [1, 5, 10, 10, 1, 5, 10]
    runs.execute(record)
    assert not SyncRun.objects.filter(state=RunState.QUEUED).exists()


def test_a_slot_that_met_a_run_which_has_just_failed_is_put_off(make_sync: Make) -> None:
    make_sync(settling())
    later = of_slot(NOON + timedelta(hours=1), RunState.QUEUED)
    under_way().move(RunState.LOST, expect=(RunState.RUNNING,))
    runs.execute(later)
    again = retry()
    assert (again.slot, again.attempt) == (later.slot, 2)


def test_a_slot_that_meets_a_run_waits_for_its_closing(make_sync: Make) -> None:
    make_sync(settling())
    first = under_way()
    later = of_slot(NOON + timedelta(hours=1), RunState.QUEUED)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            first.move(RunState.LOST, expect=(RunState.RUNNING,))
            skipping = pool.submit(in_thread, later)
            until_blocked()
        skipping.result(10)
    assert retry().slot == later.slot


def in_thread(record: SyncRun) -> None:
    try:
        runs.execute(record)
    finally:
        connection.close()


def until_blocked() -> None:
    deadline = time.monotonic() + 10
    while not query("SELECT 1 FROM pg_locks WHERE NOT granted"):
        assert time.monotonic() < deadline, "it did not wait"
        time.sleep(0.02)
