"""What setup_schedules and the start of every cluster repair."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from importlib import import_module
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.expressions import RawSQL
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from syncs.dispatch import constraints, reconcile
from syncs.engine import registry
from syncs.models import SyncSchedule
from syncs.schedules import crontab, store
from syncs.schedules.store import OFF, UNLIMITED
from tests.caches import query

NIGHTLY = "7 3 * * *"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def unguarded(transactional_db: None) -> Iterator[None]:
    """Schedules that agree, in a database whose constraints on them somebody took away."""
    reconcile.reconcile()
    kept = query(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'django_q_schedule'::regclass AND conname LIKE %s",
        "only_%",
    )
    assert len(kept) == 3
    alter = "ALTER TABLE django_q_schedule"
    with connection.cursor() as cursor:
        for name, _ in kept:
            cursor.execute(f"{alter} DROP CONSTRAINT {name}")
    yield
    Schedule.objects.all().delete()
    with connection.cursor() as cursor:
        for name, definition in kept:
            cursor.execute(f"{alter} DROP CONSTRAINT IF EXISTS {name}")
            cursor.execute(f"{alter} ADD CONSTRAINT {name} {definition}")


def found(**options: bool) -> list[str]:
    return [str(finding) for finding in reconcile.reconcile(**options)]


def routes() -> Schedule:
    return Schedule.objects.get(name="user_routing")


def nightly() -> dict[str, Any]:
    """What a person's change to every night stores; any other time of it would be repaired."""
    return {"cron": NIGHTLY, "next_run": crontab.next_slots(NIGHTLY, timezone.now())[0]}


def put(**fields: Any) -> Schedule:
    """A row as somebody might write it straight into the table."""
    whole = {"func": store.FUNCTION, "schedule_type": "C", "cron": "0 4 * * *"} | fields
    return Schedule.objects.create(**whole)


def test_a_repaired_frequency_counts_from_its_repair(unguarded: None) -> None:
    SyncSchedule.objects.update(planned_since=timezone.now() - timedelta(days=30))
    Schedule.objects.filter(name="user_routing").update(cron="every day")
    found()
    since = dict(SyncSchedule.objects.values_list("sync", "planned_since"))
    assert timezone.now() - since["user_routing"] < timedelta(minutes=5)
    assert timezone.now() - since["ghost_users"] > timedelta(days=29)


def test_what_is_missing_is_created_once() -> None:
    assert found() == [
        "instance_health: has no schedule: created, every minute",
        "tenant_summaries: has no schedule: created, every hour at minute 0",
        "user_routing: has no schedule: created, every 15 minutes",
        "ghost_users: has no schedule: created, every day at 02:00 UTC",
    ]
    assert found() == []
    assert set(SyncSchedule.objects.values_list("sync", flat=True)) == {
        sync.name for sync in registry.scheduled_syncs()
    }


def test_a_new_schedule_does_not_fire_at_once() -> None:
    found()
    assert not Schedule.objects.filter(next_run__lte=timezone.now()).exists()


def test_the_environment_sets_the_first_rhythm_and_no_later_one(settings: Any) -> None:
    settings.RAINBO_SCHEDULES = {"user_routing": "*/5 * * * *"}
    found()
    assert routes().cron == "*/5 * * * *"
    settings.RAINBO_SCHEDULES = {"user_routing": "0 * * * *"}
    assert found() == []
    assert routes().cron == "*/5 * * * *"


def test_a_look_changes_nothing() -> None:
    assert len(found(dry_run=True)) == 4
    assert not Schedule.objects.exists()


def test_what_a_person_chose_stays() -> None:
    found()
    Schedule.objects.filter(name="user_routing").update(**nightly(), repeats=OFF)
    SyncSchedule.objects.filter(sync="user_routing").update(note="off for now")
    due = timezone.now() - timedelta(hours=2)
    Schedule.objects.filter(name="ghost_users").update(next_run=due)
    assert found() == []
    assert (routes().cron, routes().repeats) == (NIGHTLY, OFF)
    assert Schedule.objects.get(name="ghost_users").next_run == due


def test_a_row_that_vanished_comes_back() -> None:
    found()
    routes().delete()
    assert found() == ["user_routing: has no schedule: created, every 15 minutes"]


def test_a_row_without_our_part_is_adopted() -> None:
    found()
    SyncSchedule.objects.filter(sync="user_routing").delete()
    assert found() == ["user_routing: its schedule was not made by RAINBO: adopted"]
    assert SyncSchedule.objects.get(sync="user_routing").schedule == routes()
    assert found() == []


def test_doubles_are_removed_but_not_the_one_that_people_edit() -> None:
    found()
    edited = SyncSchedule.objects.get(sync="user_routing").schedule
    for _ in range(2):
        put(args="('user_routing',)", intended_date_kwarg="slot")
    assert found() == ["user_routing: has 3 schedules: removed 2"]
    assert Schedule.objects.filter(args="('user_routing',)").get() == edited


def test_the_schedule_of_a_sync_that_is_no_more_is_switched_off() -> None:
    found()
    row = put(args="('forgotten',)", intended_date_kwarg="slot")
    assert found() == [f"row {row.pk}: names no sync (('forgotten',)): switched off"]
    row.refresh_from_db()
    assert row.repeats == OFF
    assert found() == []


@pytest.mark.parametrize(
    ("broken", "repaired"),
    [
        ({"repeats": 3}, {"repeats": UNLIMITED}),
        ({"cluster": "elsewhere"}, {"cluster": None}),
        ({"next_run": None}, {}),
        ({"next_run": datetime.fromisoformat("2999-01-01T00:00Z")}, {}),
        ({"next_run": datetime.fromisoformat("1970-01-01T00:00Z")}, {}),
        ({"next_run": RawSQL("'infinity'", ())}, {}),
    ],
)
def test_without_the_constraints_a_row_that_would_not_fire_is_repaired(
    unguarded: None, broken: dict[str, Any], repaired: dict[str, Any]
) -> None:
    Schedule.objects.filter(name="user_routing").update(**broken)
    words = found()[0]
    assert words.startswith("user_routing: its schedule has a wrong ")
    assert {name: getattr(routes(), name) for name in repaired} == repaired
    assert abs(routes().next_run - timezone.now()) < timedelta(minutes=15)


@pytest.mark.parametrize(
    "broken",
    [
        {"args": "('user_routing'"},
        {"args": None, "kwargs": "rds=2, force=true"},
        {"cron": "0 0 31 2 *"},
        {"cron": None},
        {"schedule_type": "H", "intended_date_kwarg": None},
        {"hook": "os.system"},
    ],
)
def test_without_the_constraints_a_malformed_row_is_repaired(
    unguarded: None, broken: dict[str, Any]
) -> None:
    Schedule.objects.filter(name="user_routing").update(**broken)
    words = found()
    assert words[0].startswith("user_routing: its schedule has a wrong ")
    assert words[0].endswith(": repaired")
    row = routes()
    assert (row.args, row.schedule_type, row.hook) == ("('user_routing',)", "C", None)
    assert (row.cron, row.intended_date_kwarg) == ("*/15 * * * *", "slot")
    assert not row.kwargs


def test_without_the_constraints_a_foreign_function_is_switched_off(unguarded: None) -> None:
    row = put(func="os.system", args="'touch /tmp/x'", cron=None, schedule_type="H")
    words = found()
    assert words[0] == f"row {row.pk}: calls 'os.system': switched off"
    row.refresh_from_db()
    assert row.repeats == OFF


def test_constraints_that_were_taken_away_come_back(unguarded: None) -> None:
    put(func="os.system", args="'touch /tmp/x'", cron=None, schedule_type="H")
    names = ("only_our_schedules", "only_rhythms_that_come", "only_rows_that_fire")
    lines = [f"{name}: this constraint on schedules was missing: restored" for name in names]
    assert found(dry_run=True)[1:] == lines
    assert found()[1:] == lines
    assert found() == []
    with pytest.raises(IntegrityError):
        put(func="os.system")


def test_a_constraint_that_cannot_come_back_stops_no_repair(
    unguarded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constraints, "LOCK_TIMEOUT", "none")
    routes().delete()
    created, *others = found()
    assert created == "user_routing: has no schedule: created, every 15 minutes"
    assert len(others) == 3
    assert "was missing and could not be restored: invalid value" in others[0]
    assert routes()


def test_a_row_whose_function_was_broken_keeps_what_a_person_chose(unguarded: None) -> None:
    until = timezone.now() + timedelta(days=3)
    Schedule.objects.filter(name="user_routing").update(func="os.system", args="", **nightly())
    SyncSchedule.objects.filter(sync="user_routing").update(
        options={"targets": ["1"]}, paused_until=until, grace_seconds=30
    )
    assert found()[0] == "user_routing: its schedule has a wrong func, args: repaired"
    kept = SyncSchedule.objects.select_related("schedule").get(sync="user_routing")
    assert (kept.options, kept.paused_until, kept.grace_seconds) == (
        {"targets": ["1"]},
        until,
        30,
    )
    assert (kept.schedule.func, kept.schedule.cron) == (store.FUNCTION, NIGHTLY)


def test_an_upgrade_mends_what_would_be_refused(unguarded: None) -> None:
    for change in (
        "syncs_syncschedule DROP CONSTRAINT only_pauses_that_end",
        "syncs_syncschedule DROP CONSTRAINT only_options_that_fit",
    ):
        query(f"ALTER TABLE {change}")
    query("UPDATE syncs_syncschedule SET paused_until = '-infinity', options = '[]'")
    query("UPDATE syncs_syncschedule SET paused_until = 'infinity' WHERE sync = 'ghost_users'")
    Schedule.objects.filter(name="user_routing").update(cluster="x", repeats=5, next_run=None)
    Schedule.objects.filter(name="ghost_users").update(next_run=RawSQL("'infinity'", ()))
    migration = import_module("syncs.migrations.0012_rows_that_nothing_chokes_on")
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (*migration.MEND, migration.PAUSES, migration.ROWS, migration.OPTIONS):
            cursor.execute(statement)
    assert (routes().repeats, routes().cluster) == (OFF, None)  # it would take all instances
    kept = SyncSchedule.objects.get(sync="user_routing")
    assert (kept.options, kept.paused_until) == ({}, None)
    assert "Switched off: its options made no sense." in kept.note
    assert SyncSchedule.objects.get(sync="ghost_users").is_paused(timezone.now())


@pytest.mark.parametrize("wrong", ["[]", '{"targets": 5}', '{"targets": [5]}', '"x"'])
def test_options_that_no_run_could_take_are_refused(wrong: str) -> None:
    found()
    with pytest.raises(IntegrityError):
        query("UPDATE syncs_syncschedule SET options = %s::jsonb", wrong)


def test_a_malformed_row_stops_the_others_only_until_reconciling(unguarded: None) -> None:
    past = timezone.now() - timedelta(minutes=1)
    Schedule.objects.filter(name="user_routing").update(next_run=past)
    put(name="ghost_users", args="('ghost", next_run=past, schedule_type="H")
    scheduler()
    assert not OrmQ.objects.exists()  # django-q gave up on all of them
    found()
    scheduler()
    assert OrmQ.objects.exists()
    assert routes().next_run > past


def test_many_at_once_make_no_doubles() -> None:
    together = Barrier(4)

    def create() -> None:
        try:
            connection.ensure_connection()
            together.wait()
            reconcile.reconcile()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(create) for _ in range(4)]:
            done.result()
    assert Schedule.objects.count() == len(registry.scheduled_syncs())
