from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db.models.functions import Now
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage

from common.clock import database_now
from syncs.dispatch import lost_triggers
from syncs.models import SyncRun, SyncSchedule, Trigger
from syncs.schedules import crontab, store
from syncs.schedules.store import Wanted
from syncs.transfer.session import open_session

pytestmark = pytest.mark.django_db


@pytest.fixture
def slot() -> datetime:
    """The latest scheduled time of a sync whose schedule is a month old and fired as it should."""
    store.create("probe", "0 * * * *")
    SyncSchedule.objects.update(planned_since=Now() - timedelta(days=30))
    return crontab.previous_slot("0 * * * *", database_now() - timedelta(minutes=1))


def test_a_planned_time_without_a_run_is_rung_again(slot: datetime) -> None:
    assert lost_triggers.retrigger() == ["probe"]
    task = SignedPackage.loads(OrmQ.objects.get().payload)
    assert (task["func"], task["args"]) == (store.FUNCTION, ("probe",))
    assert task["kwargs"] == {"slot": slot.isoformat()}


def test_one_that_has_a_run_is_left(slot: datetime) -> None:
    SyncRun.objects.create(sync="probe", slot=slot, trigger=Trigger.SCHEDULE)
    assert lost_triggers.retrigger() == []


def test_a_run_of_the_future_stands_for_no_time_that_is_due(slot: datetime) -> None:
    later = slot + timedelta(hours=3)
    SyncRun.objects.create(sync="probe", slot=later, trigger=Trigger.SCHEDULE)
    assert lost_triggers.retrigger() == ["probe"]
    Schedule.objects.update(next_run=slot - timedelta(hours=3))
    assert lost_triggers.retrigger() == ["probe"]


def test_one_that_has_not_fired_yet_is_the_schedulers_business(slot: datetime) -> None:
    Schedule.objects.update(next_run=Now() - timedelta(seconds=100))
    assert lost_triggers.retrigger() == []


def test_one_that_no_scheduler_fired_is_rung_and_moved_on(slot: datetime) -> None:
    Schedule.objects.update(next_run=slot - timedelta(hours=3))
    assert lost_triggers.retrigger() == ["probe"]
    task = SignedPackage.loads(OrmQ.objects.get().payload)
    assert task["kwargs"] == {"slot": (slot - timedelta(hours=3)).isoformat()}
    assert Schedule.objects.get().next_run > database_now()
    SyncRun.objects.create(sync="probe", slot=slot, trigger=Trigger.SCHEDULE)
    assert lost_triggers.retrigger() == []


@pytest.mark.django_db(transaction=True)
def test_one_whose_row_somebody_holds_is_rung_and_nobody_waits(slot: datetime) -> None:
    due = slot - timedelta(hours=3)
    Schedule.objects.update(next_run=due)
    with open_session("test") as idle, idle.transaction():
        idle.execute("SELECT 1 FROM django_q_schedule FOR UPDATE")
        assert lost_triggers.retrigger() == ["probe"]
        SyncRun.objects.create(sync="probe", slot=slot, trigger=Trigger.SCHEDULE)
        assert lost_triggers.retrigger() == []
        assert Schedule.objects.get().next_run == due
    assert lost_triggers.retrigger() == []
    assert Schedule.objects.get().next_run > slot


def test_one_before_the_last_change_is_not_made_up_for(slot: datetime) -> None:
    SyncSchedule.objects.update(planned_since=Now())
    assert lost_triggers.retrigger() == []


def test_a_note_or_a_pause_forgets_no_planned_time(slot: datetime) -> None:
    kept = SyncSchedule.objects.select_related("schedule").get()
    wanted = Wanted(cron="0 * * * *", note="call Ann first")
    store.change("probe", wanted, "ann", store.version(kept))
    store.pause("probe", database_now() + timedelta(minutes=1), "a moment", "ann")
    store.resume("probe", "ann")
    assert lost_triggers.retrigger() == ["probe"]


def test_one_of_long_ago_is_not_made_up_for(slot: datetime) -> None:
    Schedule.objects.update(cron=f"0 0 {slot - timedelta(days=3):%d} * *")
    assert lost_triggers.retrigger() == []


def test_one_of_a_former_rhythm_is_not_made_up_for(slot: datetime) -> None:
    kept = SyncSchedule.objects.select_related("schedule").get()
    store.change("probe", Wanted(cron="0 */2 * * *"), "ann", store.version(kept))
    assert lost_triggers.retrigger() == []


def test_one_that_is_switched_off_is_left(slot: datetime) -> None:
    Schedule.objects.update(repeats=store.OFF)
    assert lost_triggers.retrigger() == []
