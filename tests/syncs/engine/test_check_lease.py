"""Asking whether a run may go on: a look while all is well, more only when it isn't."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from common.errors import RainboError
from syncs.engine import runs
from syncs.engine.options import Options
from syncs.engine.run import Run
from syncs.errors import LeaseLost
from syncs.models import Lease, RunState, SyncRun, Trigger
from tests.caches import query
from tests.syncs.conftest import Make

pytestmark = pytest.mark.django_db(transaction=True)


def ran(make_sync: Make, function: Callable[[Run], Any]) -> SyncRun:
    make_sync(function)
    return runs.execute(runs.request("probe", Options(), Trigger.COMMAND))


def version() -> list[tuple[Any, ...]]:
    return query("SELECT xmin::text, ctid::text FROM syncs_lease")


def test_while_all_is_well_nothing_is_written(make_sync: Make) -> None:
    def function(run: Run) -> None:
        before = version()
        run.check_lease()
        assert version() == before

    assert ran(make_sync, function).state == RunState.SUCCEEDED


def test_a_lease_that_soon_runs_out_is_renewed(make_sync: Make) -> None:
    def function(run: Run) -> None:
        query("UPDATE syncs_lease SET expires_at = clock_timestamp() + interval '1 s' RETURNING 1")
        short = Lease.objects.get().expires_at
        run.check_lease()
        assert short is not None
        assert (Lease.objects.get().expires_at or short) > short

    assert ran(make_sync, function).state == RunState.SUCCEEDED


def test_a_lease_that_another_took_is_lost(make_sync: Make) -> None:
    def function(run: Run) -> None:
        query("UPDATE syncs_lease SET token = token + 1 RETURNING 1")
        with pytest.raises(LeaseLost):
            run.check_lease()

    ran(make_sync, function)


def test_many_threads_ask_by_one_connection(make_sync: Make) -> None:
    opened = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rainbo/probe'"

    def ask(run: Run, failed: list[RainboError]) -> None:
        try:
            run.check_lease()
        except RainboError as error:
            failed.append(error)
        finally:
            connection.close()

    def function(run: Run) -> None:
        failed: list[RainboError] = []
        threads = [threading.Thread(target=ask, args=(run, failed)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert query(opened) == [(1,)]

    assert ran(make_sync, function).state == RunState.SUCCEEDED
