"""What is implausible in an instance's tenants and their counts is held."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from syncs.models import RunState, SyncRun, TargetState
from tenants.fleet import contract
from tenants.models import Tenant
from tests.caches import part, run_sync
from tests.instances import Instance, InstanceFleet

SYNC = "tenant_summaries"


def fill(instance: Instance, tenants: int, users: int, locations: int = 1) -> None:
    """Tenants with so many users and locations each."""
    numbers = f"generate_series(1, {tenants}) AS n"
    instance.execute(f"INSERT INTO tenants (id, name) SELECT n, 'Tenant ' || n FROM {numbers}")
    instance.execute(
        f"INSERT INTO users (tenant_id, email) SELECT n, n || '-' || m || '@example.com' "
        f"FROM {numbers}, generate_series(1, {users}) AS m"
    )
    instance.execute(
        f"INSERT INTO locations (tenant_id, name) SELECT n, 'Place ' || m "
        f"FROM {numbers}, generate_series(1, {locations}) AS m"
    )


def empty(instance: Instance, table: str = "users", first: int = 1, last: int = 10**6) -> None:
    """Delete what these tenants have."""
    instance.execute(f"DELETE FROM {table} WHERE tenant_id BETWEEN {first} AND {last}")


def published(instance: Instance, column: str = "user_count") -> int:
    rows = Tenant.objects.filter(instance_id=instance.id, vanished_at=None)
    return sum(count or 0 for count in rows.values_list(column, flat=True))


def accept(held: SyncRun) -> SyncRun:
    return run_sync(SYNC, accept_held=held.pk, reason="they left")


@pytest.fixture
def rds(registered: InstanceFleet) -> Instance:
    """The instance of the test; the others have tenants that don't change."""
    for other in (registered[1], registered[3]):
        fill(other, 3, 1)
    return registered[2]


def test_truncated_users_are_held_and_not_published(rds: Instance) -> None:
    fill(rds, 20, 10)
    run_sync(SYNC)
    rds.execute("TRUNCATE users")
    run = run_sync(SYNC)
    assert (run.state, part(run, 2).state) == (RunState.PARTIAL, TargetState.HELD)
    assert part(run, 2).note == (
        "users would fall from 200 to 0 (100% fewer); 20 of 20 rows (100%) would have no users, "
        "or an unknown number of them"
    )
    assert published(rds) == 200
    assert part(run, 2).held_counts == {"lowered": 20}
    details = set(run.held_changes.values_list("kind", "detail"))
    assert ("lowered", "Tenant 7: users '10' → '0'") in details


@pytest.mark.parametrize(
    ("column", "table"), [("user_count", "users"), ("location_count", "locations")]
)
def test_each_count_is_guarded(rds: Instance, column: str, table: str) -> None:
    fill(rds, 20, 3, 3)
    run_sync(SYNC)
    rds.execute(f"TRUNCATE {table}")
    assert part(run_sync(SYNC), 2).state == TargetState.HELD
    assert published(rds, column) == 60


def test_a_sum_that_falls_is_held_though_no_tenant_is_empty(rds: Instance) -> None:
    fill(rds, 10, 10)
    run_sync(SYNC)
    rds.execute("DELETE FROM users WHERE right(split_part(email, '@', 1), 1) IN ('1', '2', '3')")
    assert part(run_sync(SYNC), 2).state == TargetState.SUCCEEDED, "at the limit"
    rds.execute("DELETE FROM users WHERE right(split_part(email, '@', 1), 1) IN ('4')")
    run = run_sync(SYNC)
    assert part(run, 2).note == "users would fall from 100 to 60 (40% fewer) within 24 h"


def test_counts_that_become_unknown_are_held(
    rds: Instance, settings: Settings, tmp_path: Path
) -> None:
    fill(rds, 20, 5)
    run_sync(SYNC)
    shipped = contract.text("sync_tenant_summaries")
    unknown = shipped.replace("coalesce(people.active, 0)", "NULL::bigint")
    (tmp_path / "sync_tenant_summaries.sql").write_text(unknown)
    settings.RAINBO_SOURCE_SQL = tmp_path
    run = run_sync(SYNC)
    assert part(run, 2).state == TargetState.HELD
    assert ("lowered", "Tenant 7: users '5' → NULL") in run.held_changes.values_list(
        "kind", "detail"
    )
    assert published(rds) == 100


def test_a_small_instance_may_lose_what_is_below_the_floor(rds: Instance) -> None:
    fill(rds, 2, 10)
    run_sync(SYNC)
    rds.execute("TRUNCATE users")
    assert run_sync(SYNC).state == RunState.SUCCEEDED
    assert published(rds) == 0


def test_ordinary_falls_and_growth_are_published(rds: Instance) -> None:
    fill(rds, 20, 10)
    run_sync(SYNC)
    empty(rds, "users", 1, 2)
    rds.execute("INSERT INTO users (tenant_id, email) VALUES (3, 'new@example.com')")
    assert run_sync(SYNC).state == RunState.SUCCEEDED
    assert published(rds) == 181


def test_an_instance_whose_tenants_never_had_users_is_not_held(rds: Instance) -> None:
    fill(rds, 20, 0, 0)
    run_sync(SYNC)
    assert run_sync(SYNC).state == RunState.SUCCEEDED


def test_tenants_that_lose_their_users_in_small_steps_are_held(rds: Instance) -> None:
    fill(rds, 40, 2)
    run_sync(SYNC)
    empty(rds, "users", 1, 4)
    assert run_sync(SYNC).state == RunState.SUCCEEDED
    empty(rds, "users", 5, 5)
    run = run_sync(SYNC)
    assert part(run, 2).note == (
        "5 of 40 rows (12%) would have no users, or an unknown number of them within 24 h"
    )


def test_a_person_accepts_what_the_counts_fell_to_and_no_more(rds: Instance) -> None:
    fill(rds, 40, 10)
    run_sync(SYNC)
    empty(rds, "users", 1, 15)
    held = run_sync(SYNC)
    empty(rds, "users", 16, 40)
    again = accept(held)
    assert part(again, 2).note.endswith("users would fall further than was accepted")
    assert published(rds) == 400
    rds.execute("INSERT INTO users (tenant_id, email) VALUES (1, 'back@example.com')")
    done = accept(again)
    assert part(done, 2).state == TargetState.SUCCEEDED, part(done, 2).note
    assert published(rds) == 1
    empty(rds, "users")
    assert run_sync(SYNC).state == RunState.SUCCEEDED, "a new window"


def test_the_same_fall_supersedes_the_older(rds: Instance) -> None:
    fill(rds, 20, 10)
    run_sync(SYNC)
    empty(rds, "users", 1, 19)
    first = run_sync(SYNC)
    rds.execute("DELETE FROM users WHERE email = '20-1@example.com'")
    second = run_sync(SYNC)
    first.refresh_from_db()
    assert first.superseded_by == second


def test_tenants_that_are_replaced_in_small_steps_are_held(rds: Instance) -> None:
    fill(rds, 100, 0)
    run_sync(SYNC)
    states = []
    for step in range(10):
        first, last = step * 10 + 1, step * 10 + 10
        rds.execute(f"UPDATE tenants SET id = id + 1000 WHERE id BETWEEN {first} AND {last}")
        states.append(part(run_sync(SYNC), 2).state)
    assert states == [TargetState.SUCCEEDED, *[TargetState.HELD] * 9]
