"""What a table's name means on an instance is remembered; a change waits for a person."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from syncs.models import Confirmation, HeldChange, RunState, TargetState
from tenants.fleet.resolution import Tables
from tenants.ghosts import policy
from tenants.models import RdsInstance, Tenant
from tests.caches import everything, part, run_sync, shown_emails
from tests.instances import Instance, InstanceFleet
from tests.rows import staff

SHADOW = """
    CREATE SCHEMA shadow;
    GRANT USAGE ON SCHEMA shadow TO rainbo;
    CREATE {kind} shadow.{table} AS SELECT * FROM public.{table};
    GRANT SELECT ON shadow.{table} TO rainbo;
    ALTER ROLE rainbo SET search_path = shadow, public"""
SAID = "its query reads other tables than before: "


@pytest.fixture
def synced(registered: InstanceFleet) -> InstanceFleet:
    for instance in registered.instances:
        instance.add_tenant(1, f"Tenant on {instance.id}")
    registered.master.add_route(1, "ann@example.com")
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    assert run_sync("tenant_summaries").state == RunState.SUCCEEDED
    return registered


@pytest.mark.parametrize(("kind", "said"), [("TABLE", "table"), ("VIEW", "view")])
def test_another_schema_is_held_and_accepted_once(
    synced: InstanceFleet, kind: str, said: str
) -> None:
    synced.master.execute(SHADOW.format(kind=kind, table="user_email_routing"))
    synced.master.execute("UPDATE shadow.user_email_routing SET email = 'eve@example.com'")
    run = run_sync("user_routing")
    assert run.state == RunState.HELD
    assert f"{SAID}" in part(run).note
    assert f"shadow.user_email_routing ({said})" in part(run).note
    assert shown_emails() == ["ann@example.com"]
    assert run_sync("user_routing").state == RunState.HELD
    newest = HeldChange.objects.filter(source_id="tables").latest("pk").run_id
    accepting = run_sync("user_routing", accept_held=newest, reason="a rebuild")
    assert accepting.state == RunState.SUCCEEDED, part(accepting).note
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    assert shown_emails() == ["eve@example.com"]


def test_an_acceptance_is_of_these_tables(synced: InstanceFleet) -> None:
    synced.master.execute(SHADOW.format(kind="TABLE", table="user_email_routing"))
    held = run_sync("user_routing")
    synced.master.execute(
        "DROP TABLE shadow.user_email_routing; CREATE VIEW shadow.user_email_routing AS "
        "TABLE public.user_email_routing; GRANT SELECT ON shadow.user_email_routing TO rainbo"
    )
    run = run_sync("user_routing", accept_held=held.pk, reason="a rebuild")
    assert run.state == RunState.HELD
    assert "1 of the changes were not accepted" in part(run).note


def test_one_instance_is_held_alone(synced: InstanceFleet) -> None:
    synced[2].execute(
        "ALTER TABLE users RENAME TO people; CREATE VIEW users AS TABLE people; "
        "GRANT SELECT ON users, people TO rainbo"
    )
    synced[3].execute("UPDATE tenants SET name = 'renamed'")
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert part(run, 2).state == TargetState.HELD
    assert (
        f"{SAID}public.users (table) → public.people (table), public.users (view)"
        in part(run, 2).note
    )
    assert Tenant.objects.get(instance=3).name == "renamed"


GHOSTS = "its query writes other tables than before: public.users (table) → shadow.users (table)"


def test_ghost_users_are_not_written_into_another_table(registered: InstanceFleet) -> None:
    staff("ann", is_superuser=True)
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    two = registered[2]
    two.execute(SHADOW.format(kind="TABLE", table="users"))
    two.execute("GRANT INSERT, UPDATE ON shadow.users TO rainbo")
    staff("bob", is_superuser=True)
    held = run_sync("ghost_users")
    assert held.state == RunState.PARTIAL, everything(held)
    assert part(held, 2).state == TargetState.HELD
    assert part(held, 2).note == GHOSTS
    count = "SELECT count(*) FROM {} WHERE is_ghost_admin"
    assert two.execute(count.format("shadow.users")) == [(1,)], "as it was copied"
    assert registered[3].execute(count.format("users")) == [(2,)]
    two.execute("ALTER TABLE shadow.users ALTER id SET DEFAULT 4711")
    accepting = run_sync("ghost_users", accept_held=held.pk, reason="they moved")
    assert part(accepting, 2).state == TargetState.SUCCEEDED, everything(accepting)
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    assert two.execute(count.format("shadow.users")) == [(2,)]


def test_an_accepted_table_is_remembered_though_a_ghost_is_refused(
    registered: InstanceFleet,
) -> None:
    staff("ann", is_superuser=True)
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    two = registered[2]
    two.execute(SHADOW.format(kind="TABLE", table="users"))
    two.execute("GRANT INSERT, UPDATE ON shadow.users TO rainbo")
    bob = staff("bob", is_superuser=True)
    email = policy.wanted_admins()[bob.pk].email
    two.execute("INSERT INTO shadow.users (id, email) VALUES (9, %s)", [email])
    held = run_sync("ghost_users")
    accepting = run_sync("ghost_users", accept_held=held.pk, reason="they moved")
    assert part(accepting, 2).state == TargetState.FAILED
    again = run_sync("ghost_users")
    assert part(again, 2).state == TargetState.FAILED
    assert "is refused" in part(again, 2).error


def test_a_repeat_that_writes_more_is_no_other_table(registered: InstanceFleet) -> None:
    """Triggers and foreign keys lock more tables whenever rows are written."""
    registered[2].execute(
        "CREATE TABLE seen (id bigint); GRANT INSERT ON seen TO rainbo; "
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO public.seen VALUES (NEW.id); RETURN NEW; END'; "
        "CREATE TRIGGER note BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION note()"
    )
    for name in ("ann", "bob"):
        staff(name, is_superuser=True)
        for _ in range(2):
            run = run_sync("ghost_users")
            assert run.state == RunState.SUCCEEDED, everything(run)
    assert registered[2].execute("SELECT count(*) FROM seen") == [(2,)]


def test_a_health_check_by_another_view_is_held(
    registered: InstanceFleet, settings: Settings, tmp_path: Path
) -> None:
    settings.RAINBO_SOURCE_SQL = tmp_path
    own = "SELECT version(), now() AS clock, count(*) AS connections, 100 AS max_connections"
    (tmp_path / "sync_instance_health.sql").write_text(f"{own} FROM pg_stat_activity")
    assert run_sync("instance_health").state == RunState.SUCCEEDED
    two = registered[2]
    two.execute(
        "CREATE SCHEMA shadow; GRANT USAGE ON SCHEMA shadow TO rainbo; "
        "CREATE VIEW shadow.pg_stat_activity AS TABLE pg_catalog.pg_stat_activity; "
        "GRANT SELECT ON shadow.pg_stat_activity TO rainbo; GRANT pg_read_all_stats TO rainbo; "
        "ALTER ROLE rainbo SET search_path = shadow, pg_catalog, public"
    )
    before = RdsInstance.objects.get(pk=2).last_check_at
    held = run_sync("instance_health")
    assert held.state == RunState.PARTIAL, everything(held)
    assert part(held, 2).note == f"{SAID}nothing → shadow.pg_stat_activity (view)"
    assert RdsInstance.objects.get(pk=2).last_check_at == before
    accepting = run_sync("instance_health", accept_held=held.pk, reason="it is ours")
    assert accepting.state == RunState.SUCCEEDED, everything(accepting)
    assert run_sync("instance_health").state == RunState.SUCCEEDED
    two.execute("REVOKE pg_read_all_stats FROM rainbo")


def swapped(instance: Instance) -> None:
    """A table of the same name, as a nightly rebuild makes it."""
    instance.execute(
        "CREATE TABLE fresh (LIKE user_email_routing INCLUDING ALL); "
        "INSERT INTO fresh TABLE user_email_routing; DROP TABLE user_email_routing; "
        "ALTER TABLE fresh RENAME TO user_email_routing; "
        "GRANT SELECT ON user_email_routing TO rainbo"
    )


def partitioned(instance: Instance) -> None:
    instance.execute(
        "CREATE TABLE part (LIKE user_email_routing INCLUDING ALL); "
        "ALTER TABLE part INHERIT user_email_routing; GRANT SELECT ON part TO rainbo"
    )


@pytest.mark.parametrize("change", [swapped, partitioned])
def test_what_changes_no_name_is_published(synced: InstanceFleet, change: object) -> None:
    change(synced.master)  # type: ignore[operator]
    assert run_sync("user_routing").state == RunState.SUCCEEDED


def test_another_query_reads_what_it_says(
    synced: InstanceFleet, settings: Settings, tmp_path: Path
) -> None:
    synced.master.execute(
        "CREATE VIEW mine AS TABLE user_email_routing; GRANT SELECT ON mine TO rainbo"
    )
    (tmp_path / "sync_user_routing.sql").write_text("SELECT * FROM mine")
    settings.RAINBO_SOURCE_SQL = tmp_path
    assert run_sync("user_routing").state == RunState.SUCCEEDED


def test_a_confirmation_of_before_has_nothing_to_compare(synced: InstanceFleet) -> None:
    Confirmation.objects.update(tables=None)
    synced.master.execute(SHADOW.format(kind="TABLE", table="user_email_routing"))
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    kept = Confirmation.objects.get(sync="user_routing").tables
    assert kept is not None
    assert kept["names"] == ["shadow.user_email_routing (table)"]
    assert RdsInstance.objects.count() == 3


def test_another_order_of_the_same_tables_is_no_change() -> None:
    """A server that was upgraded, or another collation, sorts names otherwise."""
    before = Tables.of("SELECT", ("public.User_roles (table)", "public.users (table)"))
    after = Tables.of("SELECT", (*reversed(before.names),))
    assert after.change_since(before.as_json()) == ""
    assert Tables.of("SELECT", before.names[:1]).change_since(before.as_json()) == (
        "public.users (table) → nothing"
    )
