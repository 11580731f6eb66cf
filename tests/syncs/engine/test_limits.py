"""A run over its limit is closed, whatever its function does."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.db import connection
from pytest_django import Settings

from common.errors import RainboError
from syncs.engine import registry, runs, watchdog
from syncs.engine.options import Options
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.errors import OverLimit
from syncs.models import Confirmation, RunState, SyncRun, TargetState, Trigger
from tests.children import until
from tests.syncs.conftest import Make
from tests.syncs.plans import NOON, plan

pytestmark = pytest.mark.django_db(transaction=True)
WORDS = "it did not finish within its limit of 0.3 s and was stopped; nothing was published after"


@pytest.fixture(autouse=True)
def limits(settings: Settings) -> None:
    settings.RAINBO_RUN_LIMIT = 0.3
    settings.RAINBO_LEASE_RENEWAL = 0.05
    plan()


def run_slot() -> SyncRun:
    return runs.execute(runs.request("probe", Options(), Trigger.SCHEDULE, slot=NOON))


def patient(run: Run) -> None:
    while True:
        time.sleep(0.05)
        run.check_lease()


def deaf(run: Run) -> None:
    """Looks at nothing until it wants to publish."""
    until(lambda: not SyncRun.objects.filter(state=RunState.RUNNING).exists())
    with suppress(RainboError), run.publishing() as session:
        run.confirm(session, "1", run.now())
    with run.session.transaction():  # not even past its own refusal
        from syncs.engine import lease

        lease.fence(run.session, "probe", run.renewal.token)
        run.confirm(run.session, "1", run.now())


def querying(run: Run) -> None:
    run.session.execute("SELECT pg_sleep(60)")


def publishing(run: Run) -> None:
    with run.publishing() as session:
        run.confirm(session, "1", run.now())
        session.execute("SELECT pg_sleep(60)")


@pytest.mark.parametrize("function", [patient, deaf, querying, publishing])
def test_a_run_over_its_limit_is_closed_and_publishes_nothing(
    make_sync: Make, function: Callable[[Run], None]
) -> None:
    make_sync(function)
    began = time.monotonic()
    record = run_slot()
    assert time.monotonic() - began < 20
    assert record.state == RunState.FAILED
    assert record.error.startswith(WORDS)
    assert not Confirmation.objects.exists()


def test_it_is_tried_again(make_sync: Make) -> None:
    make_sync(patient)
    run_slot()
    assert SyncRun.objects.get(state=RunState.QUEUED).attempt == 2


def test_its_targets_did_not_fail(make_sync: Make) -> None:
    def function(run: Run) -> None:
        run.expect([Target("1", "one")])
        try:
            patient(run)
        except RainboError as error:
            run.record_outcome("1", TargetState.FAILED, error=error)

    make_sync(function)
    assert run_slot().targets.get().state == TargetState.WAITING


def test_another_run_can_begin_while_it_hangs(make_sync: Make) -> None:
    hung: list[int] = []

    def function(run: Run) -> None:
        if not hung:
            hung.append(run.record.pk)
            time.sleep(4)

    make_sync(function)

    def hang() -> SyncRun:
        try:
            return run_slot()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(hang)
        until(lambda: SyncRun.objects.filter(state=RunState.FAILED).exists(), 10)
        other = runs.execute(runs.request("probe", Options(), Trigger.COMMAND))
        assert not first.done()
        assert other.state == RunState.SUCCEEDED
        assert first.result(10).state == RunState.FAILED


@pytest.mark.parametrize(("own", "limit"), [(None, 900), (60, 60), (2000, 900)])
def test_a_sync_may_have_a_shorter_limit(
    make_sync: Make, settings: Settings, own: int | None, limit: float
) -> None:
    settings.RAINBO_RUN_LIMIT = 900
    registry.register(registry.Sync("short", "Short", patient, list, "0 0 1 1 *", 9, limit=own))
    make_sync(patient)
    assert watchdog.limit_of(registry.get("short")) == limit


@pytest.mark.parametrize("seconds", [5, 1800])
def test_a_limit_told_for_a_sync_counts_for_it_alone(settings: Settings, seconds: int) -> None:
    settings.RAINBO_RUN_LIMITS = {"ghost_users": seconds}
    assert watchdog.limit_of(registry.get("ghost_users")) == seconds
    assert watchdog.limit_of(registry.get("user_routing")) == settings.RAINBO_RUN_LIMIT


def test_an_error_of_its_own_tells_that_it_can_pass() -> None:
    assert OverLimit.transient
