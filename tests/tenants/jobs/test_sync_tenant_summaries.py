from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from common.clock import database_now
from common.errors import UsageError
from syncs.models import Confirmation, RunState, SyncRun, TargetState, Trigger, WithheldRow
from tenants.models import RdsInstance, Tenant, TenantChange, TenantDailyCount
from tenants.summaries import merge
from tests.caches import counts, part, query, register, run_sync
from tests.instances import Instance, InstanceFleet

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def filled(registered: InstanceFleet) -> InstanceFleet:
    """Ten tenants on each instance."""
    for instance in registered.instances:
        for tenant in range(1, 11):
            instance.add_tenant(tenant)
    return registered


def tenant(instance: int, remote_id: int) -> Tenant:
    return Tenant.objects.get(instance_id=instance, remote_id=str(remote_id))


def test_tenants_arrive_with_their_counts(registered: InstanceFleet) -> None:
    rds = registered[2]
    rds.add_tenant(7, "Seven", status="trial", trial_ends_at=NOON, primary_contact_email="a@b.c")
    rds.add_user(1, 7, "ann@x.org", last_login_at=NOON)
    rds.add_user(2, 7, "bob@x.org", status="Inactive", last_login_at=NOON - timedelta(days=1))
    rds.add_user(3, 7, "ghost@x.org", is_ghost_admin=True, last_login_at=NOON + timedelta(days=1))
    rds.add_location(1, 7)
    rds.add_location(2, 7)
    run = run_sync("tenant_summaries")
    assert run.state == RunState.SUCCEEDED, run.error
    assert counts(run, 2) == (1, 1, 0, 0, 0)
    seven = tenant(2, 7)
    assert (seven.name, seven.status, seven.trial_ends_at) == ("Seven", "trial", NOON)
    assert (seven.user_count, seven.location_count) == (1, 2)
    assert seven.last_activity_at == NOON
    assert seven.cache_refreshed_at == Confirmation.objects.get(target="2").at


def test_a_tenant_without_users_counts_zero_and_knows_no_activity(
    registered: InstanceFleet,
) -> None:
    registered[3].add_tenant(1)
    run_sync("tenant_summaries")
    one = tenant(3, 1)
    assert (one.user_count, one.location_count, one.last_activity_at) == (0, 0, None)


def test_a_vanished_tenant_is_marked_and_comes_back(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    filled[2].execute("DELETE FROM tenants WHERE id = 3")
    assert counts(run_sync("tenant_summaries"), 2) == (9, 0, 0, 1, 0)
    assert tenant(2, 3).vanished_at
    assert counts(run_sync("tenant_summaries"), 2) == (9, 0, 0, 0, 0)
    filled[2].add_tenant(3, "Back")
    assert counts(run_sync("tenant_summaries"), 2) == (10, 0, 1, 0, 0)
    assert tenant(2, 3).vanished_at is None
    kinds = [change.kind for change in TenantChange.objects.order_by("id")]
    assert kinds[0] == "vanished"
    assert set(kinds[1:]) == {"back", "name"}


def test_changes_of_name_and_status_are_remembered(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    filled[2].execute("UPDATE tenants SET name = 'New', status = 'suspended' WHERE id = 3")
    run = run_sync("tenant_summaries")
    changes = TenantChange.objects.values_list("kind", "before", "after", "run_id")
    assert set(changes) == {
        ("name", "Tenant 3", "New", run.pk),
        ("status", "active", "suspended", run.pk),
    }


def test_every_confirmation_is_stamped(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    before = tenant(2, 1).cache_refreshed_at
    run_sync("tenant_summaries")
    assert tenant(2, 1).cache_refreshed_at > before


def test_counts_are_kept_by_the_day(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    filled[2].add_user(1, 3, "ann@x.org")
    run_sync("tenant_summaries")
    days = TenantDailyCount.objects.filter(tenant=tenant(2, 3))
    assert [day.user_count for day in days] == [1]


def test_days_without_the_tenant_are_not_counted(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    a_day_passes()
    filled[2].execute("DELETE FROM tenants WHERE id = 3")
    run_sync("tenant_summaries")
    a_day_passes()
    filled[2].add_tenant(3)
    filled[2].add_user(1, 3, "ann@x.org")
    run_sync("tenant_summaries")
    assert counted_days(3) == [(0, 1), (2, 0)]
    assert counted_days(4) == [(0, 0), (1, 0), (2, 0)]


def test_what_is_not_published_leaves_no_history(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    a_day_passes()
    filled[2].execute("UPDATE tenants SET name = 'New'")
    run_sync("tenant_summaries", dry_run=True)
    run_sync("tenant_summaries")
    assert counted_days(1) == [(1, 0)]
    assert not TenantChange.objects.exists()


def a_day_passes() -> None:
    query("UPDATE tenant_daily_counts SET day = day - 1")


def counted_days(remote_id: int) -> list[tuple[int, int | None]]:
    """How many days ago, and how many users."""
    today = datetime.now(UTC).date()
    rows = TenantDailyCount.objects.filter(tenant=tenant(2, remote_id)).order_by("-day")
    return [((today - row.day).days, row.user_count) for row in rows]


def test_a_sync_that_finds_nothing_new_touches_no_index(registered: InstanceFleet) -> None:
    registered[2].execute(
        "INSERT INTO tenants (id, name, status, primary_contact_email) "
        "SELECT n, 'Tenant ' || n, 'active', n || '@x.org' FROM generate_series(1, 500) AS n"
    )
    for _ in range(3):
        run_sync("tenant_summaries")
    written = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s"
    before = query(written, "tenant_master")[0]
    run_sync("tenant_summaries", force=True)
    query("SELECT pg_stat_force_next_flush()")
    query("SELECT pg_stat_clear_snapshot()")
    after = query(written, "tenant_master")[0]
    updated, in_place = (a - b for a, b in zip(after, before, strict=True))
    assert updated == in_place >= 500  # an earlier run's may be counted only now


def test_a_dead_instance_leaves_the_others_published(filled: InstanceFleet) -> None:
    filled[2].server.stop()
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert part(run, 2).state == TargetState.FAILED
    assert "instance 2 (rds2) refused the connection" in part(run, 2).error
    assert set(Tenant.objects.values_list("instance_id", flat=True)) == {1, 3}
    filled[2].server.start()
    again = run_sync("tenant_summaries", failed_from=run.pk)
    assert [(p.target, p.state) for p in again.targets.all()] == [("2", "succeeded")]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("ALTER TABLE users DROP COLUMN last_login_at", "last_login_at"),
        ("REVOKE SELECT ON locations FROM rainbo", "check_fleet --rds 2 prints the statements"),
        (
            "ALTER TABLE tenants ALTER trial_ends_at TYPE timestamp",
            "column trial_ends_at is timestamp, not timestamptz",
        ),
        ("ALTER TABLE tenants RENAME name TO title", "name"),
    ],
)
def test_a_broken_contract_fails_that_instance_alone(
    filled: InstanceFleet, damage: str, words: str
) -> None:
    run_sync("tenant_summaries")
    before = query("SELECT * FROM tenant_master WHERE instance_id = 2 ORDER BY id")
    filled[2].execute(damage)
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert words in part(run, 2).error
    assert query("SELECT * FROM tenant_master WHERE instance_id = 2 ORDER BY id") == before
    filled[2].reset()
    assert run_sync("tenant_summaries").state in (RunState.PARTIAL, RunState.SUCCEEDED)


def test_an_implausible_instance_holds_only_itself(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    filled[2].execute("DELETE FROM tenants WHERE id <= 3")
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert part(run, 2).state == TargetState.HELD
    assert part(run, 2).note == "3 of 10 rows (30%) would be removed"
    assert Tenant.objects.filter(instance_id=2, vanished_at=None).count() == 10
    accepting = run_sync("tenant_summaries", accept_held=run.pk, reason="closed")
    assert accepting.state == RunState.SUCCEEDED
    assert Tenant.objects.filter(instance_id=2, vanished_at=None).count() == 7


def test_an_accepted_drop_is_not_held_again(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    filled[2].execute("DELETE FROM tenants WHERE id <= 3")
    held = run_sync("tenant_summaries")
    run_sync("tenant_summaries", accept_held=held.pk, reason="closed")
    assert run_sync("tenant_summaries").state == RunState.SUCCEEDED


def test_too_many_implausible_instances_hold_all(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    for number in (2, 3):
        filled[number].execute("DELETE FROM tenants")
    filled[1].add_tenant(11)
    run = run_sync("tenant_summaries")
    assert run.state == RunState.HELD
    assert "2 of 3 instances are implausible at once" in part(run, 1).note
    assert Tenant.objects.filter(vanished_at=None).count() == 30


def test_a_manual_run_leaves_out_what_is_fresh_and_says_so(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    manual = run_sync("tenant_summaries", trigger=Trigger.COMMAND)
    assert manual.state == RunState.SUCCEEDED
    assert {p.state for p in manual.targets.all()} == {TargetState.SKIPPED}
    assert "less than half a period ago" in part(manual, 2).note
    forced = run_sync("tenant_summaries", trigger=Trigger.COMMAND, force=True)
    assert {p.state for p in forced.targets.all()} == {TargetState.SUCCEEDED}
    scheduled = run_sync("tenant_summaries")
    assert {p.state for p in scheduled.targets.all()} == {TargetState.SUCCEEDED}


@pytest.mark.parametrize(
    "distance", [timedelta(days=-400), timedelta(hours=1)], ids=["old", "of the future"]
)
def test_a_manual_run_reads_what_is_old_or_of_the_future(
    filled: InstanceFleet, distance: timedelta
) -> None:
    run_sync("tenant_summaries")
    Confirmation.objects.filter(target="2").update(at=database_now() + distance)
    manual = run_sync("tenant_summaries", trigger=Trigger.COMMAND)
    assert part(manual, 2).state == TargetState.SUCCEEDED
    assert part(manual, 3).state == TargetState.SKIPPED


def test_the_command_takes_one_instance(
    filled: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("sync_tenant_summaries", "--rds=2", "--force", "--json")
    out = capsys.readouterr()
    document = json.loads(out.out)
    assert [target["target"] for target in document["targets"]] == ["2"]
    assert document["targets"][0]["added"] == 10
    assert document["run"] == SyncRun.objects.get().pk
    assert set(Tenant.objects.values_list("instance_id", flat=True)) == {2}


def test_the_command_refuses_an_unknown_instance(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        call_command("sync_tenant_summaries", "--rds", "9")
    assert end.value.code == 2
    assert "no active instance has the id 9" in capsys.readouterr().err
    assert not SyncRun.objects.exists()


def test_rows_belong_to_the_instance_that_sent_them(filled: InstanceFleet) -> None:
    """Whatever a source answers, its rows can't land among another instance's."""
    filled[2].execute("ALTER TABLE tenants ADD target text DEFAULT '1'")
    run_sync("tenant_summaries")
    assert Tenant.objects.filter(instance_id=1).count() == 10
    assert Tenant.objects.filter(instance_id=2).count() == 10


def test_an_acceptance_of_changes_covers_these_changes_alone(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    filled[2].execute("UPDATE tenants SET status = 'suspended' WHERE id <= 5")
    held = run_sync("tenant_summaries")
    assert part(held, 2).note == "5 of 10 rows (50%) would change status"
    filled[2].execute("UPDATE tenants SET name = 'another'")
    again = run_sync("tenant_summaries", accept_held=held.pk, reason="half were suspended")
    assert part(again, 2).state == TargetState.HELD
    assert "of the changes were not accepted" in part(again, 2).note
    assert not Tenant.objects.filter(name="another").exists()


def test_held_changes_are_told_one_by_one(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    filled[2].execute("UPDATE tenants SET status = 'suspended' WHERE id <= 5")
    held = run_sync("tenant_summaries")
    change = held.held_changes.get(source_id="3")
    assert change.detail == "Tenant 3: status 'active' → 'suspended'"
    accepting = run_sync("tenant_summaries", accept_held=held.pk, reason="that is right")
    assert accepting.state == RunState.SUCCEEDED


def test_a_dry_run_can_not_be_accepted(filled: InstanceFleet) -> None:
    run_sync("tenant_summaries")
    filled[2].execute("DELETE FROM tenants")
    held = run_sync("tenant_summaries", dry_run=True)
    with pytest.raises(UsageError, match="was a dry run"):
        run_sync("tenant_summaries", accept_held=held.pk, reason="x")


def test_an_acceptance_resets_the_memory_of_its_instance_alone(filled: InstanceFleet) -> None:
    for instance in filled.instances:
        for number in range(11, 21):
            instance.add_tenant(number)
    run_sync("tenant_summaries")
    filled[1].execute("DELETE FROM tenants WHERE id <= 2")
    run_sync("tenant_summaries")
    filled[2].execute("DELETE FROM tenants WHERE id <= 10")
    held = run_sync("tenant_summaries")
    run_sync("tenant_summaries", accept_held=held.pk, reason="closed")
    filled[1].execute("DELETE FROM tenants WHERE id <= 4")
    run = run_sync("tenant_summaries")
    assert part(run, 1).note == (
        "4 of 20 rows (20%) would be removed within 24 h, 2 of them by earlier runs"
    )


def test_the_widest_name_is_stored(filled: InstanceFleet) -> None:
    filled[2].add_tenant(11, "".join(map(chr, range(0x20000, 0x20000 + 1000))))
    assert run_sync("tenant_summaries").state == RunState.SUCCEEDED


@pytest.mark.parametrize("moment", ["infinity", "20000-01-01", "0001-01-01 BC"])
def test_a_date_that_no_calendar_shows_is_withheld(filled: InstanceFleet, moment: str) -> None:
    filled[2].execute("UPDATE tenants SET trial_ends_at = %s WHERE id = 3", [moment])
    run = run_sync("tenant_summaries")
    assert counts(run, 2) == (10, 9, 0, 0, 1)
    assert WithheldRow.objects.get().reason == "trial_ends_at out of the calendar"


def test_rows_that_the_own_database_refuses_fail_their_instance_alone(
    filled: InstanceFleet, extra_instance: Callable[..., Instance]
) -> None:
    broken = extra_instance(4, encoding="SQL_ASCII")
    broken.add_tenant(1)
    broken.execute(r"UPDATE tenants SET name = convert_from('\x41ff42'::bytea, 'SQL_ASCII')")
    with broken.server.connect() as superuser:  # a server that calls its bytes UTF8
        superuser.execute(
            "UPDATE pg_database SET encoding = 6 WHERE datname = %s", [broken.database]
        )
    register(broken)
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert "could not store its rows: invalid byte sequence" in part(run, 4).error
    assert Tenant.objects.count() == 30


def test_a_row_without_id_and_with_undecodable_text_is_withheld(
    filled: InstanceFleet, extra_instance: Callable[..., Instance]
) -> None:
    odd = extra_instance(4, encoding="SQL_ASCII")
    odd.execute(
        "ALTER TABLE tenants ALTER id DROP IDENTITY, DROP CONSTRAINT tenants_pkey, "
        "ALTER id DROP NOT NULL"
    )
    odd.execute(
        r"INSERT INTO tenants (id, name) VALUES (NULL, convert_from('\x41ff'::bytea, 'SQL_ASCII'))"
    )
    register(odd)
    assert run_sync("tenant_summaries").state == RunState.SUCCEEDED
    assert WithheldRow.objects.get().source_id == "(no id)"


@pytest.mark.parametrize(
    "change", [{"database": "elsewhere"}, {"is_active": False}, {"port": 1}], ids=str
)
def test_an_instance_changed_while_it_is_read_is_not_published(
    filled: InstanceFleet, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    plan = merge.plan

    def changing(*args: Any) -> None:
        plan(*args)
        RdsInstance.objects.filter(pk=3).update(**change)

    monkeypatch.setattr(merge, "plan", changing)
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert "was changed or removed while it was read" in part(run, 3).error
    assert set(Tenant.objects.values_list("instance_id", flat=True)) == {1, 2}
    assert not Confirmation.objects.filter(target="3").exists()


def test_an_instance_deleted_while_it_is_read_takes_no_other_with_it(
    filled: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = merge.plan

    def deleting(*args: Any) -> None:
        plan(*args)
        RdsInstance.objects.filter(pk=3).delete()

    monkeypatch.setattr(merge, "plan", deleting)
    run = run_sync("tenant_summaries")
    assert part(run, 3).state == TargetState.FAILED
    assert set(Tenant.objects.values_list("instance_id", flat=True)) == {1, 2}
