from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import Schedule

from common import clock
from syncs.models import (
    Confirmation,
    Heartbeat,
    Lease,
    RunState,
    SyncRun,
    SyncSchedule,
    TargetState,
    Trigger,
)
from syncs.schedules import store
from syncs.status import problems, queries
from syncs.status.freshness import Cause, State
from syncs.status.problems import Severity
from syncs.status.queries import SyncStatus, TargetStatus
from tenants.models import RdsInstance
from tenants.models.instance import Health
from tests import rows
from tests.rows import instance_row, run_part
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, 3, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

confirmation = partial(rows.confirmation, now=NOW)
ended_run = partial(rows.ended_run, now=NOW)


@pytest.fixture(autouse=True)
def fleet_of_one() -> None:
    """One instance that is the master; all schedules are there and a worker works."""
    instance_row(1, is_master=True)
    default_schedules()
    Heartbeat.objects.create(worker="host:1", at=NOW)


def routes() -> SyncStatus:
    status = queries.status(NOW)
    return next(sync for sync in status.syncs if sync.name == "user_routing")


def target() -> TargetStatus:
    (only,) = routes().targets
    return only


def cause() -> Cause | None:
    reason = target().reason
    return reason.cause if reason else None


def test_a_confirmed_target_is_on_time() -> None:
    at = confirmation(ago=MINUTE).at
    found = target()
    assert (found.freshness.state, found.confirmed_at, found.reason) == (State.ON_TIME, at, None)
    assert found.label == "instance 1 (rds1)"


@pytest.mark.parametrize(("minutes", "state"), [(18, State.LATE), (33, State.STALE)])
def test_age_is_judged_by_the_schedule(minutes: int, state: State) -> None:
    confirmation(ago=minutes * MINUTE)
    assert target().freshness.state is state
    assert cause() is Cause.OVERDUE


def test_never_confirmed_is_unknown() -> None:
    assert (target().freshness.state, cause()) == (State.UNKNOWN, Cause.NEVER_CONFIRMED)


def test_a_slower_schedule_makes_it_late_later() -> None:
    confirmation(ago=40 * MINUTE)
    Schedule.objects.filter(name="user_routing").update(cron="0 0 1 1 *")
    assert target().freshness.state is State.ON_TIME


@pytest.mark.parametrize(("minutes", "state"), [(2, State.ON_TIME), (30, State.STALE)])
def test_a_new_frequency_counts_from_when_it_was_set(minutes: int, state: State) -> None:
    """What no schedule had planned is not missed."""
    confirmation(ago=50 * MINUTE)
    Schedule.objects.filter(name="user_routing").update(cron="*/5 * * * *")
    SyncSchedule.objects.update(planned_since=NOW - minutes * MINUTE)
    assert target().freshness.state is state


def test_a_frequency_set_in_the_form_makes_nothing_stale() -> None:
    Schedule.objects.filter(name="user_routing").update(cron="0 * * * *")
    at = clock.database_now()
    rows.confirmation(now=at, ago=50 * MINUTE)
    kept = SyncSchedule.objects.get(sync="user_routing")
    wanted = store.Wanted("*/5 * * * *")
    store.change("user_routing", wanted, "ann", store.version(kept))
    found = queries.sync_status("user_routing", clock.database_now()).targets[0]
    assert found.freshness.state is State.ON_TIME


def test_of_several_schedules_the_active_ones_count() -> None:
    confirmation(ago=40 * MINUTE)
    Schedule.objects.filter(name="user_routing").update(repeats=store.OFF)
    store.create("user_routing", "0 0 1 1 *")
    assert (target().freshness.state, cause()) == (State.ON_TIME, None)


def test_a_schedule_that_is_switched_off_is_the_reason() -> None:
    confirmation(ago=40 * MINUTE)
    Schedule.objects.filter(name="user_routing").update(repeats=store.OFF)
    assert (target().freshness.state, cause()) == (State.STALE, Cause.PAUSED)
    assert routes().next_slot is None


def paused(until: timedelta) -> None:
    SyncSchedule.objects.filter(sync="user_routing").update(
        paused_until=NOW + until, pause_reason="moving rds1"
    )


def test_a_pause_is_the_reason_and_moves_the_next_run() -> None:
    confirmation(ago=MINUTE)
    paused(62 * MINUTE)
    assert str(target().reason) == "paused until 13:05 UTC: moving rds1"
    assert routes().next_slot == datetime(2026, 11, 22, 13, 15, tzinfo=UTC)


def test_a_pause_ends_by_itself() -> None:
    confirmation(ago=MINUTE)
    paused(-MINUTE)
    assert (target().reason, routes().pause) == (None, None)


def test_a_paused_schedule_still_lets_the_worker_show_that_it_lives() -> None:
    Heartbeat.objects.update(at=NOW - 10 * MINUTE)
    SyncSchedule.objects.update(paused_until=NOW + MINUTE)
    assert queries.status(NOW).worker_silent


def test_a_schedule_has_a_grace_of_its_own() -> None:
    confirmation(ago=18 * MINUTE)
    SyncSchedule.objects.filter(sync="user_routing").update(grace_seconds=600)
    assert target().freshness.state is State.ON_TIME


def test_without_a_schedule_the_expected_period_counts(settings: Any) -> None:
    Schedule.objects.filter(name="user_routing").delete()
    confirmation(ago=20 * MINUTE)
    assert target().freshness.state is State.LATE
    settings.RAINBO_EXPECTED_PERIOD = 3600
    assert target().freshness.state is State.ON_TIME


def test_a_silent_worker_is_the_reason() -> None:
    Heartbeat.objects.update(at=NOW - 10 * MINUTE)
    confirmation(ago=40 * MINUTE)
    assert cause() is Cause.NO_HEARTBEAT
    assert queries.status(NOW).worker_silent


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 * * * *", "0 0 1 1 *"])
@pytest.mark.parametrize(("seconds", "unresponsive"), [(180, False), (181, True)])
def test_workers_are_silent_after_three_minutes_whatever_is_due(
    cron: str, seconds: int, unresponsive: bool
) -> None:
    """A heartbeat is due each minute: a worker that died is noticed before anything is late."""
    Heartbeat.objects.update(at=NOW - timedelta(seconds=seconds))
    Schedule.objects.update(cron=cron)
    confirmation(ago=MINUTE)
    found = queries.status(NOW)
    assert found.worker_silent is bool(found.worker.problem) is unresponsive
    named = problems.judge(problems.read(NOW))
    assert any(p.severity is Severity.WORKERS_DEAD for p in named) is unresponsive
    assert cause() is (Cause.NO_HEARTBEAT if unresponsive else None)


def test_a_worker_that_executes_a_run_for_long_is_not_silent() -> None:
    confirmation(ago=MINUTE)
    Heartbeat.objects.update(at=NOW - 10 * MINUTE)
    run = SyncRun.objects.create(
        sync="ghost_users", state=RunState.RUNNING, started_at=NOW, host="host", pid=1
    )
    later = clock.database_now() + MINUTE
    Lease.objects.create(sync=run.sync, token=1, run=run, expires_at=later)
    assert (queries.status(NOW).worker_silent, cause()) == (False, None)


@pytest.mark.parametrize(
    "hidden_by", ["a pause", "a switch", "unresponsive workers", "a later run"]
)
def test_what_is_held_is_known_and_named_whatever_hides_it(hidden_by: str) -> None:
    confirmation(ago=MINUTE)
    run = ended_run(state=RunState.HELD)
    run_part(run, state=TargetState.HELD, note="25 of 100", held_counts={"removed": 25})
    if hidden_by == "a pause":
        paused(62 * MINUTE)
    elif hidden_by == "a switch":
        Schedule.objects.update(repeats=store.OFF)
    elif hidden_by == "unresponsive workers":
        Heartbeat.objects.update(at=NOW - 10 * MINUTE)
    else:
        ended_run(state=RunState.LOST, ago=MINUTE)
    held = target().held
    assert (held and held.run, held and held.weight) == (run.pk, 25)
    assert cause() is not Cause.HELD
    assert target().is_severe
    found = problems.judge(problems.read(NOW))
    assert "sync/user_routing/held" in [problem.key for problem in found]
    if hidden_by in ("a pause", "a switch"):
        assert found[0].severity is Severity.HELD


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ({"error_kind": "login", "error": "refused"}, "sync/user_routing/failing"),
        ({"error_kind": "connection", "error": "no route"}, "sync/user_routing/failing"),
        ({"state": TargetState.SUCCEEDED}, None),
    ],
)
def test_a_pause_does_not_hide_what_fails(part: dict[str, Any], key: str | None) -> None:
    confirmation(ago=MINUTE)
    run_part(ended_run(state=RunState.PARTIAL), **{"state": TargetState.FAILED} | part)
    paused(62 * MINUTE)
    found = [p.key for p in problems.judge(problems.read(NOW)) if p.key.startswith("sync/user")]
    assert found == [*filter(None, [key]), "sync/user_routing/paused"]
    assert target().is_severe is bool(key)


def test_a_discarded_change_is_held_no_longer_and_needs_nobody_during_a_pause() -> None:
    confirmation(ago=MINUTE)
    run = ended_run(state=RunState.HELD)
    run_part(run, state=TargetState.HELD, held_counts={"removed": 25})
    discarded = {"discarded_at": NOW, "discarded_by": "ann", "discard_reason": "expected"}
    SyncRun.objects.filter(pk=run.pk).update(**discarded)
    paused(62 * MINUTE)
    assert (target().held, target().is_severe) == (None, False)
    found = [p.key for p in problems.judge(problems.read(NOW)) if p.key.startswith("sync/user")]
    assert found == ["sync/user_routing/paused"]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"state": TargetState.HELD, "note": "25 of 100 rows"}, Cause.HELD),
        ({"state": TargetState.FAILED, "error_kind": "connection"}, Cause.FAILING),
        ({"state": TargetState.FAILED, "error_kind": "login"}, Cause.FAILING),
        ({"state": TargetState.WAITING}, Cause.FAILING),
        ({"state": TargetState.SUCCEEDED}, Cause.OVERDUE),
        ({"state": TargetState.SKIPPED}, Cause.OVERDUE),
    ],
)
def test_the_last_run_names_the_reason(part: dict[str, str], expected: Cause) -> None:
    confirmation(ago=40 * MINUTE)
    run_part(ended_run(state=RunState.PARTIAL), **part)
    assert cause() is expected


@pytest.mark.parametrize("kind", ["connection", "timeout"])
@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (Health.DOWN, "instance down: no route"),
        (Health.HEALTHY, "failing: the last run could not reach the instance: no route"),
        (Health.DEGRADED, "failing: the last run could not reach the instance: no route"),
        (Health.UNKNOWN, "failing: the last run could not reach the instance: no route"),
    ],
)
def test_an_instance_is_down_by_its_last_check(kind: str, health: Health, expected: str) -> None:
    confirmation(ago=MINUTE)
    failed = {"state": TargetState.FAILED, "error": "no route", "error_kind": kind}
    run_part(ended_run(state=RunState.PARTIAL), **failed)
    RdsInstance.objects.update(health=health)
    assert str(target().reason) == expected


def test_what_waits_for_a_person_has_a_weight() -> None:
    confirmation(ago=MINUTE)
    counts = {"removed": 300, "moved": 4, "changed": 9}
    run_part(ended_run(state=RunState.HELD), state=TargetState.HELD, held_counts=counts)
    (found,) = [sync for sync in queries.status(NOW).syncs if sync.name == "user_routing"]
    assert found.reason
    assert found.reason.weight == 304


def test_a_later_success_lifts_the_reason() -> None:
    confirmation(ago=MINUTE)
    run_part(ended_run(state=RunState.FAILED), state=TargetState.FAILED)
    run_part(ended_run())
    assert cause() is None


def test_a_run_of_another_target_does_not() -> None:
    confirmation(ago=MINUTE)
    run_part(ended_run(state=RunState.FAILED), state=TargetState.FAILED)
    run_part(ended_run(), target="2")
    assert cause() is Cause.FAILING


def test_a_run_that_failed_before_any_target_is_the_reason() -> None:
    confirmation(ago=MINUTE)
    run_part(ended_run())
    failed = ended_run(state=RunState.FAILED, error="no instance is the master")
    assert str(target().reason) == f"failing: run {failed.pk}: no instance is the master"


def test_a_run_that_failed_on_another_target_is_not() -> None:
    instance_row(2)
    confirmation("tenant_summaries", ago=MINUTE)
    run_part(ended_run("tenant_summaries"))
    run_part(ended_run("tenant_summaries", RunState.FAILED), "2", state=TargetState.FAILED)
    status = queries.status(NOW)
    found = next(sync for sync in status.syncs if sync.name == "tenant_summaries")
    reasons = {target.key: target.reason and target.reason.cause for target in found.targets}
    assert reasons == {"1": None, "2": Cause.FAILING}


@pytest.mark.parametrize("fields", [{"state": RunState.SKIPPED}, {"options": {"dry_run": True}}])
def test_skipped_and_dry_runs_say_nothing(fields: dict[str, Any]) -> None:
    confirmation(ago=MINUTE)
    good = ended_run()
    ended_run(**{"state": RunState.FAILED} | fields)
    last = routes().last_run
    assert last is not None
    assert (last.pk, cause()) == (good.pk, None)


def running(since: timedelta, *, live: bool) -> SyncRun:
    run = SyncRun.objects.create(
        sync="user_routing",
        state=RunState.RUNNING,
        trigger=Trigger.SCHEDULE,
        started_at=NOW - since,
    )
    expires_at = timezone.now() + (MINUTE if live else -MINUTE)  # judged by the database's clock
    Lease.objects.create(sync="user_routing", token=1, run=run, expires_at=expires_at)
    return run


def test_a_run_that_takes_long_is_the_reason() -> None:
    confirmation(ago=MINUTE)
    running(10 * MINUTE, live=True)
    assert cause() is Cause.RUNNING_LONG


def test_a_run_whose_lease_ran_out_has_fallen_silent() -> None:
    confirmation(ago=MINUTE)
    run = running(MINUTE, live=False)
    assert str(target().reason).startswith(f"failing: run {run.pk} is unresponsive")


def test_the_usual_duration_is_the_median_of_the_last_twenty() -> None:
    for seconds in [1000.0] * 30 + [5.0, 6.0] * 10:
        ended_run(seconds=seconds)
    ended_run(state=RunState.FAILED, seconds=1.0)
    assert routes().usual_seconds == 5.5


def test_a_sync_without_an_instance_says_so() -> None:
    Confirmation.objects.all().delete()
    RdsInstance.objects.update(is_master=False)
    found = routes()
    assert (found.state, found.targets) == (State.UNKNOWN, ())
    assert str(found.reason) == "never confirmed: no instance takes part in it"


def test_the_sync_is_as_bad_as_its_worst_target() -> None:
    instance_row(2)
    confirmation("tenant_summaries", "1", ago=MINUTE)
    confirmation("tenant_summaries", "2", ago=5 * 60 * MINUTE)
    status = queries.status(NOW)
    found = next(sync for sync in status.syncs if sync.name == "tenant_summaries")
    assert found.state is State.STALE
    assert found.reason is not None
    assert found.reason.cause is Cause.OVERDUE


def test_more_instances_and_runs_take_no_more_queries() -> None:
    with CaptureQueriesContext(connection) as few:
        queries.status(NOW)
    for number in range(2, 12):
        instance_row(number)
        run = ended_run("tenant_summaries")
        run_part(run, str(number))
        confirmation("tenant_summaries", str(number))
    with CaptureQueriesContext(connection) as many:
        queries.status(NOW)
    # One more where the last run of a sync was without some of its targets.
    assert len(many) <= len(few) + 1 <= 14


def test_the_database_tells_the_time() -> None:
    now = timezone.now()
    assert now - MINUTE < clock.database_now() < now + MINUTE
