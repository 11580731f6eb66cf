from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django_q.models import Schedule

from common.clock import database_now
from syncs.dispatch import slots
from syncs.models import RunState, SyncRun
from syncs.schedules import crontab
from syncs.transfer.session import open_session
from tests.syncs.conftest import Make
from tests.syncs.plans import NOON, YEARLY, at, of_slot, outcomes, plan

pytestmark = pytest.mark.django_db(transaction=True)
QUARTERS = "*/15 * * * *"
Clock = Callable[[str], datetime]


@pytest.fixture(autouse=True)
def probe(make_sync: Make) -> None:
    make_sync(lambda run: None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the time of the own database, as the slots see it."""

    def to(time: str) -> datetime:
        monkeypatch.setattr(slots, "database_now", lambda: at(time))
        return at(time)

    return to


def take(time: str) -> SyncRun | None:
    return slots.claim_due("probe", at(time))


def taken(time: str) -> SyncRun:
    record = take(time)
    assert record is not None
    return record


def test_a_slot_runs_with_the_options_of_its_schedule(clock: Clock) -> None:
    plan(QUARTERS, options={"targets": ["2"], "force": True})
    clock("12:00:05")
    record = taken("12:00")
    assert (record.slot, record.state) == (NOON, RunState.QUEUED)
    assert record.options == {"targets": ("2",), "force": True}


def test_a_late_start_runs_once_and_tells_what_was_missed(clock: Clock) -> None:
    plan(QUARTERS)
    clock("13:07")
    assert taken("12:00").slot == at("13:00")
    missed = dict.fromkeys(("12:00", "12:15", "12:30", "12:45"), RunState.SKIPPED)
    assert outcomes() == missed | {"13:00": RunState.QUEUED}
    words = SyncRun.objects.get(slot=NOON).error
    assert words == (
        "missed: nothing ran it in time; the next to run was that of 2026-11-22 13:00 UTC"
    )


def test_of_a_long_silence_the_last_hundred_are_recorded(clock: Clock) -> None:
    plan("* * * * *")
    clock("12:00")
    slots.claim_due("probe", NOON - timedelta(days=7))
    missed = SyncRun.objects.filter(state=RunState.SKIPPED)
    assert missed.count() == 100
    assert missed.order_by("slot")[0].slot == NOON - timedelta(minutes=100)


def test_slots_whose_tasks_were_lost_are_recorded(clock: Clock) -> None:
    plan(QUARTERS)
    of_slot(at("12:00"))
    clock("12:45:05")
    assert taken("12:45").slot == at("12:45")
    assert outcomes() == {
        "12:00": RunState.SUCCEEDED,
        "12:15": RunState.SKIPPED,
        "12:30": RunState.SKIPPED,
        "12:45": RunState.QUEUED,
    }


def test_slots_before_a_change_of_the_rhythm_were_never_planned(clock: Clock) -> None:
    plan(QUARTERS, planned_since=at("12:20"))
    of_slot(at("12:00"))
    clock("12:45:05")
    take("12:45")
    assert list(outcomes()) == ["12:00", "12:30", "12:45"]


def test_a_time_that_no_rhythm_names_runs_as_it_was_handed_over(clock: Clock) -> None:
    plan(YEARLY)
    clock("12:00:05")
    assert taken("11:59:37").slot == at("11:59:37")


def test_one_that_no_rhythm_names_is_missed_like_others(clock: Clock) -> None:
    plan(QUARTERS)
    clock("12:32")
    assert taken("12:07").slot == at("12:30")
    missed = dict.fromkeys(("12:07", "12:15"), RunState.SKIPPED)
    assert outcomes() == missed | {"12:30": RunState.QUEUED}


def test_a_slot_that_was_run_is_not_taken_again(clock: Clock) -> None:
    plan(QUARTERS)
    clock("12:00:05")
    of_slot(NOON)
    assert take("12:00") is None
    assert SyncRun.objects.count() == 1


def test_a_task_that_comes_after_a_later_one_runs_nothing(clock: Clock) -> None:
    plan(QUARTERS)
    of_slot(at("12:15"))
    clock("12:15:30")
    assert take("12:00") is None
    assert outcomes() == {"12:00": RunState.SKIPPED, "12:15": RunState.SUCCEEDED}


def test_a_paused_slot_is_skipped_and_says_why(clock: Clock) -> None:
    plan(QUARTERS, paused_until=at("14:00"), pause_reason="rds2 moves")
    clock("12:00:05")
    assert take("12:00") is None
    record = SyncRun.objects.get()
    assert record.state == RunState.SKIPPED
    assert record.error == "paused until 14:00 UTC: rds2 moves"


def test_a_pause_ends_by_itself(clock: Clock) -> None:
    plan(QUARTERS, paused_until=at("12:00"))
    clock("12:00")
    assert taken("12:00").slot == NOON


def test_what_was_planned_within_a_pause_does_not_run_after_it(clock: Clock) -> None:
    plan(QUARTERS, paused_since=at("12:10"), paused_until=at("12:20"), pause_reason="rds2 moves")
    clock("12:21")
    assert take("12:15") is None
    assert SyncRun.objects.get().error == "paused until 12:20 UTC: rds2 moves"


def test_what_was_planned_before_a_pause_runs_after_it(clock: Clock) -> None:
    plan("0 12 * * *", paused_since=at("12:10"), paused_until=at("12:20"))
    clock("12:21")
    assert taken("12:00").slot == NOON


def test_options_that_make_no_sense_fail_the_slot(clock: Clock) -> None:
    plan(QUARTERS, options={"everything": True})
    clock("12:00:05")
    assert take("12:00") is None
    record = SyncRun.objects.get()
    assert record.state == RunState.FAILED
    assert record.error == "its schedule's options are invalid: unknown options: everything"


def test_a_server_an_hour_ahead_runs_the_slot_that_is_due(clock: Clock) -> None:
    plan(QUARTERS)
    of_slot(at("12:00"))
    clock("12:15:05")
    assert taken("13:15").slot == at("12:15")


def test_a_slot_that_is_handed_over_too_early_waits_for_its_time() -> None:
    plan(QUARTERS)
    now = database_now()
    of_slot(crontab.previous_slot(QUARTERS, now))
    early = now + timedelta(minutes=5)
    assert slots.claim_due("probe", early) is None
    record = SyncRun.objects.get(slot=early)
    assert (record.state, record.not_before) == (RunState.QUEUED, early)
    assert not slots.should_run(record)
    SyncRun.objects.filter(pk=record.pk).update(slot=now, not_before=now)
    record.refresh_from_db()
    assert slots.should_run(record)


def test_a_newer_slot_puts_what_waits_of_older_ones_aside(clock: Clock) -> None:
    plan(QUARTERS)
    of_slot(NOON, RunState.FAILED)
    retry = of_slot(NOON, RunState.QUEUED, attempt=2, not_before=at("12:20"))
    clock("12:15:05")
    newer = taken("12:15")
    retry.refresh_from_db()
    assert (retry.state, retry.superseded_by) == (RunState.CANCELLED, newer)
    assert retry.error == f"missed: run {newer.pk}, of 2026-11-22 12:15 UTC, came first"


def test_a_retry_does_not_follow_a_newer_slot(clock: Clock) -> None:
    clock("12:15:05")
    retry = of_slot(NOON, RunState.QUEUED, attempt=2)
    of_slot(at("12:15"), RunState.RUNNING)
    assert not slots.should_run(retry)
    assert outcomes()["12:00"] == RunState.CANCELLED


def test_a_retry_does_not_break_a_pause(clock: Clock) -> None:
    plan(QUARTERS, paused_until=at("14:00"))
    clock("12:06")
    retry = of_slot(NOON, RunState.QUEUED, attempt=2)
    assert not slots.should_run(retry)
    retry.refresh_from_db()
    assert (retry.state, retry.error) == (RunState.CANCELLED, "paused until 14:00 UTC")


def test_a_retry_does_not_outlive_its_schedule(clock: Clock) -> None:
    plan(QUARTERS)
    Schedule.objects.update(repeats=0)
    clock("12:06")
    retry = of_slot(NOON, RunState.QUEUED, attempt=2)
    assert not slots.should_run(retry)
    retry.refresh_from_db()
    assert (retry.state, retry.error) == (RunState.CANCELLED, "its schedule is switched off")


def test_a_next_time_that_a_wrong_clock_put_ahead_is_brought_back(clock: Clock) -> None:
    row = plan(QUARTERS)
    clock("12:10")
    Schedule.objects.update(next_run=at("13:15"))
    slots.repair_next_runs()
    row.refresh_from_db()
    assert row.next_run == at("12:15")


def test_nobody_waits_for_a_row_that_somebody_holds(clock: Clock) -> None:
    plan(QUARTERS)
    clock("12:10")
    Schedule.objects.update(next_run=at("13:15"))
    with open_session("test") as idle, idle.transaction():
        idle.execute("SELECT 1 FROM django_q_schedule FOR UPDATE")
        slots.repair_next_runs()
    assert Schedule.objects.get().next_run == at("13:15")


@pytest.mark.parametrize("fields", [{"repeats": 0}, {"next_run": at("11:00")}])
def test_no_other_next_time_is_touched(clock: Clock, fields: dict[str, object]) -> None:
    plan(QUARTERS)
    Schedule.objects.update(**{"next_run": at("13:15")} | fields)
    before = Schedule.objects.values_list("next_run").get()
    clock("12:10")
    slots.repair_next_runs()
    assert Schedule.objects.values_list("next_run").get() == before


def test_scheduled_times_come_again_after_the_clock_was_set_back(clock: Clock) -> None:
    plan(QUARTERS)
    clock("12:30")
    ran = of_slot(at("12:30"), RunState.SUCCEEDED)
    later = of_slot(at("12:45"), RunState.SUCCEEDED)
    ahead = database_now() + timedelta(hours=1)
    SyncRun.objects.filter(pk__in=[ran.pk, later.pk]).update(finished_at=ahead)
    record = taken("12:30")
    assert record.pk not in (ran.pk, later.pk)
    assert slots.should_run(record)
    ran.refresh_from_db()
    assert (ran.slot, ran.state) == (None, RunState.SUCCEEDED)


def test_a_run_of_a_time_that_is_to_come_supersedes_nothing(clock: Clock) -> None:
    plan(QUARTERS)
    clock("12:30:05")
    of_slot(at("12:45"), RunState.SUCCEEDED)
    assert slots.should_run(taken("12:30"))
