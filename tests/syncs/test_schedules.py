from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import IntegrityError, connection
from django_q.models import Schedule

from syncs import schedules, specs
from syncs.models import DefaultSchedule

pytestmark = pytest.mark.django_db(transaction=True)


def outcomes(**options: bool) -> dict[str, str]:
    return {setup.sync: setup.outcome for setup in schedules.create_missing(**options)}


def all_with(outcome: str) -> dict[str, str]:
    return {sync.name: outcome for sync in specs.all_syncs()}


def test_the_defaults_are_created_once() -> None:
    assert outcomes() == all_with("created")
    assert outcomes() == all_with("kept")
    crons = {name: [plan.cron for plan in plans] for name, plans in schedules.planned().items()}
    assert crons == {
        "instance_health": ["* * * * *"],
        "tenant_summaries": ["0 * * * *"],
        "user_routing": ["*/15 * * * *"],
        "ghost_users": ["0 2 * * *"],
    }


def test_a_changed_rhythm_stays() -> None:
    outcomes()
    Schedule.objects.filter(name="user_routing").update(cron="*/5 * * * *", name="Routes")
    assert outcomes() == all_with("kept")
    assert [plan.cron for plan in schedules.planned()["user_routing"]] == ["*/5 * * * *"]


def test_a_paused_schedule_stays_paused() -> None:
    outcomes()
    Schedule.objects.filter(name="user_routing").update(repeats=schedules.PAUSED)
    outcomes()
    assert [plan.paused for plan in schedules.planned()["user_routing"]] == [True]


def test_a_removed_schedule_stays_away_until_it_is_restored() -> None:
    outcomes()
    Schedule.objects.filter(name="user_routing").delete()
    assert outcomes()["user_routing"] == "removed"
    assert "user_routing" not in schedules.planned()
    assert outcomes(restore=True)["user_routing"] == "created"
    assert outcomes()["user_routing"] == "kept"


def test_a_sync_that_is_new_in_the_code_gets_its_schedule() -> None:
    outcomes()
    Schedule.objects.filter(name="ghost_users").delete()
    DefaultSchedule.objects.filter(sync="ghost_users").delete()
    assert outcomes()["ghost_users"] == "created"


def test_many_at_once_make_no_doubles() -> None:
    together = Barrier(4)

    def create() -> None:
        try:
            connection.ensure_connection()
            together.wait()
            schedules.create_missing()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(create) for _ in range(4)]:
            done.result()
    assert Schedule.objects.count() == len(specs.all_syncs())


@pytest.mark.parametrize(
    "change",
    [
        {"func": "os.system"},
        {"args": "('user_routing', __import__('os'))"},
        {"args": None},
        {"kwargs": "force=True"},
        {"hook": "os.system"},
        {"schedule_type": "H"},
        {"intended_date_kwarg": None},
    ],
)
def test_the_database_refuses_any_other_schedule(change: dict[str, object]) -> None:
    row = schedules.create("user_routing", "0 2 * * *")
    with pytest.raises(IntegrityError):
        Schedule.objects.filter(pk=row.pk).update(**change)
