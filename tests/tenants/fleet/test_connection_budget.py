"""At most so many connections to one instance, over all processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from syncs.models import RunState, TargetState
from tenants.fleet import connection_budget, connections
from tenants.fleet.connection_budget import Budget, BudgetSpent
from tenants.models import RdsInstance
from tests.caches import part, query, run_sync
from tests.instances import InstanceFleet


@pytest.fixture
def two(settings: Settings) -> int:
    settings.RAINBO_INSTANCE_CONNECTIONS = 2
    return 2


@pytest.fixture
def elsewhere() -> Iterator[Budget]:
    """The budget as another process holds it."""
    budget = Budget()
    yield budget
    budget._held.clear()
    budget._close_if_unused()


def instance(number: int = 2) -> RdsInstance:
    return RdsInstance.objects.get(pk=number)


def test_all_processes_share_it(registered: InstanceFleet, two: int, elsewhere: Budget) -> None:
    with elsewhere.connection_to(instance()), connections.connect(instance(), "test"):
        with (
            pytest.raises(BudgetSpent, match="raise RAINBO_INSTANCE_CONNECTIONS"),
            connection_budget.BUDGET.connection_to(instance(), wait=0.1),
        ):
            pass
        with connections.connect(instance(3), "test"):
            pass
    with connections.connect(instance(), "test"), connections.connect(instance(), "test"):
        pass


def test_what_is_given_back_is_free_for_others_at_once(
    registered: InstanceFleet, two: int, elsewhere: Budget
) -> None:
    ours = connection_budget.BUDGET
    with ours.connection_to(instance(3)):  # so that its session stays open
        with ours.connection_to(instance()), ours.connection_to(instance()):
            pass
        with elsewhere.connection_to(instance(), 1), elsewhere.connection_to(instance(), 1):
            pass


def test_who_waits_gets_the_next_free_one(
    registered: InstanceFleet, two: int, elsewhere: Budget
) -> None:
    row, entered = instance(), threading.Event()

    def wait() -> None:
        with connection_budget.BUDGET.connection_to(row, wait=30):
            entered.set()

    with elsewhere.connection_to(row), elsewhere.connection_to(row):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(10)
    thread.join()


def test_a_run_that_gets_none_says_so(
    registered: InstanceFleet, two: int, elsewhere: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_budget, "WAIT", 0.1)
    with elsewhere.connection_to(instance()), elsewhere.connection_to(instance()):
        run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    found = part(run, 2)
    assert (found.error_kind, found.passing) == ("budget", True)
    assert "RAINBO has 2 connections to instance 2 (rds2)" in found.error
    assert part(run, 3).state == TargetState.SUCCEEDED


def test_a_process_that_dies_gives_them_back(
    registered: InstanceFleet, two: int, elsewhere: Budget
) -> None:
    row = instance()
    for _ in range(2):
        elsewhere._take(row.pk)
    assert elsewhere._session is not None
    elsewhere._session.close()
    with connection_budget.BUDGET.connection_to(row, wait=5):
        pass


def test_a_lost_session_is_replaced(registered: InstanceFleet, two: int) -> None:
    with connection_budget.BUDGET.connection_to(instance()):
        query(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'rainbo/connections'"
        )
    with connection_budget.BUDGET.connection_to(instance()):
        pass
