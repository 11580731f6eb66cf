"""A sync without a schedule: each of its targets has a frequency of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import Schedule

from rainbo.dashboard import sync_rows
from syncs.dispatch import reconcile
from syncs.engine import registry
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.reports import run_report, schedule_report, status_report
from syncs.status import queries
from syncs.status.freshness import Cause, State
from tests.rows import confirmation

pytestmark = pytest.mark.django_db
Make = Callable[[Callable[[Run], None]], Sync]
SLOW, QUICK = "connection/1", "connection/2"


def unscheduled(make_sync: Make, *keys: str) -> Sync:
    """Registers one with these targets: SLOW's period is an hour, that of others 15 minutes."""
    known = make_sync(lambda _: None)
    periods = {key: timedelta(minutes=15) for key in keys} | {SLOW: timedelta(hours=1)}
    return registry.register(
        replace(
            known,
            cron="",
            command="integrations_fetch --service probe",
            part_flag="--connection",
            noun="connection",
            targets=lambda: [Target(key, key, period=periods[key]) for key in keys],
        )
    )


def state_of(key: str) -> State:
    found = queries.sync_status("probe", timezone.now())
    return next(t.freshness.state for t in found.targets if t.key == key)


def test_it_gets_no_schedule_and_is_no_part_of_all_syncs(make_sync: Make) -> None:
    unscheduled(make_sync, SLOW)
    reconcile.reconcile()
    assert not Schedule.objects.filter(name="probe").exists()
    assert "probe" not in [sync.name for sync in registry.scheduled_syncs()]
    assert "probe" in [sync.name for sync in registry.all_syncs()]


def test_each_target_is_late_by_its_own_frequency(make_sync: Make) -> None:
    unscheduled(make_sync, SLOW, QUICK)
    for key in (SLOW, QUICK):
        confirmation("probe", key, ago=timedelta(minutes=20))
    assert (state_of(SLOW), state_of(QUICK)) == (State.ON_TIME, State.LATE)


def test_the_grace_is_of_the_targets_own_frequency(make_sync: Make) -> None:
    unscheduled(make_sync, SLOW, QUICK)
    confirmation("probe", SLOW, ago=timedelta(minutes=65))  # 10 % of an hour
    confirmation("probe", QUICK, ago=timedelta(minutes=18))  # 2 min of 15
    assert (state_of(SLOW), state_of(QUICK)) == (State.ON_TIME, State.LATE)


def test_without_targets_it_says_nothing(make_sync: Make) -> None:
    unscheduled(make_sync)
    assert "probe" not in [sync.name for sync in queries.status(timezone.now()).syncs]


def test_workers_that_are_dead_are_why_it_is_late(make_sync: Make) -> None:
    reconcile.reconcile()
    unscheduled(make_sync, QUICK)
    (target,) = queries.sync_status("probe", timezone.now()).targets
    assert target.reason is not None
    assert target.reason.cause is Cause.NO_HEARTBEAT


def test_reports_and_the_first_page_name_no_missing_schedule(make_sync: Make) -> None:
    unscheduled(make_sync, SLOW)
    confirmation("probe", SLOW)
    status = queries.status(timezone.now())
    said = "\n".join(map(str, [*status_report.lines(status), *schedule_report.lines(status)]))
    assert said.count("each connection by its own frequency") == 2
    found = sync_rows.rows(status, (), lambda _: True)
    (row,) = [row for row in found if row.name == "services"]
    assert ("probe" in [name for name, *_ in row.names], row.hint, row.way) == (True, "", None)


def test_its_command_and_the_option_that_names_targets_are_its_own(make_sync: Make) -> None:
    sync = unscheduled(make_sync, SLOW)
    line = run_report.command_line(sync, Options(targets=("connection/1",)))
    assert line.endswith("integrations_fetch --service probe --connection connection/1")
