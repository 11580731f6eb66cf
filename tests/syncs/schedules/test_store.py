from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone
from django_q.models import Schedule

from common.errors import UsageError
from syncs.dispatch import reconcile
from syncs.models import RunState, SyncRun, SyncSchedule
from syncs.schedules import crontab, store
from syncs.schedules.store import OFF, UNLIMITED, ChangedMeanwhile, Wanted
from tests.caches import query
from tests.syncs.schedules.test_crontab import NEVER_COMES, SURELY_COMES

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def all_planned() -> None:
    reconcile.reconcile()


def kept(sync: str = "user_routing") -> SyncSchedule:
    return SyncSchedule.objects.select_related("schedule").get(sync=sync)


def rewind(by: timedelta) -> datetime:
    """Make the routes' scheduled time one that has passed."""
    due = timezone.now().replace(second=0, microsecond=0) - by
    Schedule.objects.filter(name="user_routing").update(next_run=due)
    return due


def change(cron: str = "*/15 * * * *", **wanted: Any) -> SyncSchedule:
    return store.change("user_routing", Wanted(cron, **wanted), "ann", store.version(kept()))


def test_a_changed_rhythm_moves_the_next_run() -> None:
    change("0 3 * * *")
    row = kept().schedule
    assert (row.cron, row.next_run) == (
        "0 3 * * *",
        crontab.next_slots(row.cron, timezone.now())[0],
    )


def test_an_unchanged_rhythm_leaves_the_next_run_as_it_is() -> None:
    due = rewind(MINUTE)
    change(note="watched", options={"force": True}, grace_seconds=30)
    found = kept()
    assert found.schedule.next_run == due
    assert (found.note, found.options, found.grace_seconds) == ("watched", {"force": True}, 30)
    assert found.changed_by == "ann"
    assert not SyncRun.objects.exists()


def test_switching_on_never_fires_for_the_time_that_it_was_off() -> None:
    change(enabled=False)
    assert kept().schedule.repeats == OFF
    rewind(60 * MINUTE)
    change(enabled=True)
    row = kept().schedule
    assert row.repeats == UNLIMITED
    assert row.next_run > timezone.now()
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize("wanted", [{"cron": "0 3 * * *"}, {"enabled": False}])
def test_a_planned_time_that_was_due_gets_its_outcome(wanted: dict[str, Any]) -> None:
    due = rewind(MINUTE)
    change(**wanted)
    run = SyncRun.objects.get()
    assert (run.slot, run.state) == (due, RunState.SKIPPED)
    assert run.error == "missed: the schedule was changed before it began"


def test_a_form_that_was_opened_before_a_change_is_refused() -> None:
    seen = store.version(kept())
    change("0 3 * * *")
    with pytest.raises(ChangedMeanwhile, match=r"was changed by ann at \d\d:\d\d:\d\d UTC"):
        store.change("user_routing", Wanted("* * * * *"), "bob", seen)
    assert kept().schedule.cron == "0 3 * * *"


def test_a_change_behind_the_form_is_noticed_too() -> None:
    seen = store.version(kept())
    Schedule.objects.filter(name="user_routing").update(cron="0 3 * * *")
    with pytest.raises(ChangedMeanwhile):
        store.change("user_routing", Wanted("* * * * *"), "bob", seen)


def test_a_pause_is_kept_with_its_reason_and_taken_away() -> None:
    until = timezone.now() + 60 * MINUTE
    store.pause("user_routing", until, "moving rds1", "ann")
    (plan,) = store.planned()["user_routing"]
    pause = plan.paused(timezone.now())
    assert pause is not None
    assert (pause.until, pause.reason, kept().paused_by) == (until, "moving rds1", "ann")
    store.resume("user_routing", "bob")
    assert store.planned()["user_routing"][0].pause is None


def test_a_pause_must_end_in_the_future() -> None:
    with pytest.raises(UsageError, match="future"):
        store.pause("user_routing", timezone.now() - MINUTE, "", "ann")


def test_a_pause_must_end_within_a_year() -> None:
    with pytest.raises(UsageError, match="a year at most"):
        store.pause("user_routing", datetime.max.replace(tzinfo=UTC), "", "ann")


@pytest.mark.parametrize("until", ["infinity", "-infinity", "9999-12-31 23:59+00"])
def test_the_database_refuses_a_pause_that_no_page_could_show(until: str) -> None:
    with pytest.raises(IntegrityError):
        query("UPDATE syncs_syncschedule SET paused_until = %s", until)


def test_a_pause_says_when_it_will_run_again() -> None:
    now = timezone.now()
    until = datetime(now.year + 1, 5, 1, 2, 3, tzinfo=UTC)
    store.pause("ghost_users", until, "", "ann")
    (plan,) = store.planned()["ghost_users"]
    assert plan.next_slot(now) == datetime(now.year + 1, 5, 2, 2, 0, tzinfo=UTC)


def test_a_planned_time_on_the_very_end_of_a_pause_is_the_next() -> None:
    now = timezone.now()
    until = crontab.next_slots("*/15 * * * *", now, 2)[1]
    store.pause("user_routing", until, "", "ann")
    (plan,) = store.planned()["user_routing"]
    assert plan.next_slot(now) == until
    assert not kept().rests(until, until)


def test_a_pause_that_is_made_longer_keeps_its_beginning() -> None:
    now = timezone.now()
    store.pause("user_routing", now + MINUTE, "", "ann")
    began = kept().paused_since
    store.pause("user_routing", now + 2 * MINUTE, "", "ann")
    assert kept().paused_since == began
    SyncSchedule.objects.update(paused_until=now - MINUTE)
    store.pause("user_routing", now + 2 * MINUTE, "", "ann")
    assert kept().paused_since != began


@pytest.mark.parametrize(
    "wrong",
    [
        {"func": "os.system"},
        {"args": "('user_routing', __import__('os'))"},
        {"args": None},
        {"kwargs": "force=True"},
        {"hook": "os.system"},
        {"schedule_type": "H"},
        {"intended_date_kwarg": None},
        {"cron": None},
        {"next_run": None},
        {"next_run": datetime(1970, 1, 1, tzinfo=UTC)},
        {"next_run": datetime.max.replace(tzinfo=UTC)},
        {"cluster": "elsewhere"},
        {"repeats": 3},
    ],
)
def test_the_database_refuses_any_other_schedule(wrong: dict[str, object]) -> None:
    with pytest.raises(IntegrityError):
        Schedule.objects.filter(name="user_routing").update(**wrong)


@pytest.mark.parametrize("cron", NEVER_COMES)
def test_the_database_refuses_rhythms_that_would_stop_every_schedule(cron: str) -> None:
    with pytest.raises(IntegrityError):
        Schedule.objects.filter(name="user_routing").update(cron=cron)


@pytest.mark.parametrize("cron", SURELY_COMES)
def test_the_database_takes_what_the_form_takes(cron: str) -> None:
    change(cron)
    assert kept().schedule.cron == cron
