"""What happens to the routes when a run is stopped, killed, overtaken or cut off midway."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest
from django.db import IntegrityError, connection
from pytest_django import Settings

from localfleet.servers.fleet import LocalFleet
from syncs.models import Lease, RunState, SyncRun, TargetState
from tenants.models import RdsInstance
from tests.caches import counts, everything, part, query, run_sync, shown_emails
from tests.children import (
    child,
    locked_at_home,
    locked_at_source,
    until,
    waits_at_home,
    waits_at_source,
)
from tests.instances import Instance, InstanceFleet
from tests.tenants.jobs.test_sync_user_routing import fill

SYNC = "user_routing"
SHORT = {"RAINBO_LEASE_TTL": "6", "RAINBO_LEASE_RENEWAL": "1"}


@pytest.fixture
def cached(master: Instance) -> Instance:
    """Ten routes are cached; since then one came, one changed and one went."""
    fill(master, 10)
    run_sync(SYNC)
    master.execute("UPDATE user_email_routing SET email = 'new@example.com' WHERE id = 1")
    master.execute("DELETE FROM user_email_routing WHERE id = 2")
    master.add_route(11, "eleven@example.com")
    return master


def before() -> list[str]:
    return sorted(f"user{n}@example.com" for n in range(1, 11))


def after() -> list[str]:
    return sorted(
        [*(f"user{n}@example.com" for n in range(3, 11)), "eleven@example.com", "new@example.com"]
    )


def newest() -> SyncRun:
    return SyncRun.objects.latest("id")


def succeeds_unaided() -> None:
    """The next run, or the one after the lease ran out."""
    until(lambda: run_sync(SYNC).state == RunState.SUCCEEDED)
    assert shown_emails() == after()


def test_sigterm_at_staging_closes_the_run(cached: Instance) -> None:
    with locked_at_source(cached, "user_email_routing"), child("sync_user_routing") as command:
        until(waits_at_source(cached, SYNC))
        command.signal(signal.SIGTERM)
        code, said = command.end()
    assert code == 130
    assert "Interrupted" in said
    assert "Traceback" not in said
    assert newest().state == RunState.FAILED
    assert shown_emails() == before()
    assert run_sync(SYNC).state == RunState.SUCCEEDED


def test_sigterm_at_publish_takes_it_back(cached: Instance) -> None:
    with locked_at_home("user_routes", "EXCLUSIVE"), child("sync_user_routing") as command:
        until(waits_at_home(SYNC))
        command.signal(signal.SIGTERM)
        code, said = command.end()
    assert (code, newest().state) == (130, RunState.FAILED), said
    assert shown_emails() == before()
    succeeds_unaided()


def test_sigkill_at_staging_leaves_a_run_that_becomes_lost(cached: Instance) -> None:
    with (
        locked_at_source(cached, "user_email_routing"),
        child("sync_user_routing", **SHORT) as command,
    ):
        until(waits_at_source(cached, SYNC))
        command.signal(signal.SIGKILL)
        command.end()
    killed = newest()
    assert killed.state == RunState.RUNNING
    assert run_sync(SYNC).state == RunState.SKIPPED
    assert shown_emails() == before()
    succeeds_unaided()
    killed.refresh_from_db()
    assert killed.state == RunState.LOST
    assert "its lease ran out" in killed.error


def test_sigkill_at_publish_shows_nothing_of_it(cached: Instance) -> None:
    with (
        locked_at_home("user_routes", "EXCLUSIVE"),
        child("sync_user_routing", **SHORT) as command,
    ):
        until(waits_at_home(SYNC))
        command.signal(signal.SIGKILL)
        command.end()
    assert shown_emails() == before()
    succeeds_unaided()


def test_a_run_that_slept_past_its_lease_is_refused_its_publish(cached: Instance) -> None:
    with child("sync_user_routing", "--force", **SHORT) as sleeper:
        with locked_at_home("user_routes", "ACCESS EXCLUSIVE"):
            until(waits_at_home(SYNC))  # it has read the source and plans its merge
            sleeper.signal(signal.SIGSTOP)
        slept = newest()
        cached.add_route(12, "twelve@example.com")
        until(lambda: run_sync(SYNC).state == RunState.SUCCEEDED)
        taken_over = sorted([*after(), "twelve@example.com"])
        assert shown_emails() == taken_over
        sleeper.signal(signal.SIGCONT)
        code, said = sleeper.end()
    assert code == 1
    assert "its lease ran out" in said
    slept.refresh_from_db()
    assert slept.state == RunState.LOST
    assert "The lease went to another run; nothing was published." in everything(slept)
    assert shown_emails() == taken_over


def test_a_run_that_fell_asleep_inside_its_publish_blocks_nobody(cached: Instance) -> None:
    with child("sync_user_routing", **SHORT) as sleeper:
        with locked_at_home("user_routes", "EXCLUSIVE"):
            until(waits_at_home(SYNC))
            sleeper.signal(signal.SIGSTOP)
        slept = newest()
        cached.add_route(12, "twelve@example.com")
        until(lambda: run_sync(SYNC).state == RunState.SUCCEEDED)
        taken_over = sorted([*after(), "twelve@example.com"])
        assert shown_emails() == taken_over
        sleeper.signal(signal.SIGCONT)
        code, said = sleeper.end()
    assert code == 1, said
    assert "Traceback" not in said
    slept.refresh_from_db()
    assert slept.state == RunState.LOST
    assert shown_emails() == taken_over


def test_of_two_runs_at_once_one_is_skipped_and_names_the_other(cached: Instance) -> None:
    with child("sync_user_routing") as first:
        with locked_at_source(cached, "user_email_routing"):
            until(waits_at_source(cached, SYNC))
            met = newest()
            with child("sync_user_routing") as second:
                code, said = second.end()
            assert code == 75
            assert f"run {met.pk} is running already" in said
            assert newest().met == met
        assert first.end()[0] == 0
    assert shown_emails() == after()


def test_a_source_that_dies_mid_copy_changes_nothing(cached: Instance) -> None:
    cached.execute("ALTER TABLE user_email_routing RENAME TO directory")
    cached.execute(
        "CREATE VIEW user_email_routing AS SELECT d.* FROM directory AS d, "
        "LATERAL (SELECT pg_sleep(CASE WHEN d.id > 5 THEN 60 ELSE 0 END)) AS slow"
    )
    cached.execute("GRANT SELECT ON user_email_routing TO rainbo")
    with child("sync_user_routing") as command:
        until(
            lambda: cached.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name ~ '^rainbo/user_routing/' AND wait_event = 'PgSleep'"
            )
        )
        code, said = command.end()
    assert code == 1
    assert "ended the session: it was stopped on the server" in said
    assert shown_emails() == before()
    cached.execute("DROP VIEW user_email_routing")
    cached.execute("ALTER TABLE directory RENAME TO user_email_routing")
    assert run_sync(SYNC).state == RunState.SUCCEEDED


def test_the_own_database_dies_during_publish(
    cached: Instance, postgres_servers: LocalFleet
) -> None:
    home = postgres_servers["rainbo"]
    with child("sync_user_routing") as command:
        with suppress(psycopg.OperationalError), locked_at_home("user_routes", "EXCLUSIVE"):
            until(waits_at_home(SYNC))
            with home.connect() as superuser:
                superuser.execute("CHECKPOINT")  # the tests' servers commit without waiting
            home.kill()
        connection.close()
        home.start()
        code, said = command.end()
    assert code == 1
    assert "Traceback" not in said
    assert newest().state == RunState.FAILED
    assert "RAINBO's own database failed during the run" in newest().error
    assert shown_emails() == before()
    succeeds_unaided()


Break = Callable[[InstanceFleet], object]


def stop_server(fleet: InstanceFleet) -> None:
    fleet.master.server.stop()


def change_password(fleet: InstanceFleet) -> None:
    fleet.master.execute("ALTER ROLE rainbo PASSWORD 'another'")


def drop_database(fleet: InstanceFleet) -> None:
    with fleet.master.server.connect() as superuser:
        superuser.execute("ALTER DATABASE app RENAME TO elsewhere")


def restore_database(fleet: InstanceFleet) -> None:
    with fleet.master.server.connect() as superuser:
        superuser.execute("ALTER DATABASE elsewhere RENAME TO app")


def statement(text: str) -> Break:
    return lambda fleet: fleet.master.execute(text)


def start_server(fleet: InstanceFleet) -> None:
    fleet.master.server.start()


FAULTS: dict[str, tuple[Break, Break, str]] = {
    "down": (stop_server, start_server, "instance 1 (rds1) refused the connection"),
    "database missing": (drop_database, restore_database, "has no database app"),
    "column missing": (
        statement("ALTER TABLE user_email_routing RENAME user_name TO title"),
        statement("ALTER TABLE user_email_routing RENAME title TO user_name"),
        "user_name",
    ),
    "privilege missing": (
        statement("REVOKE SELECT ON user_email_routing FROM rainbo"),
        statement("GRANT SELECT ON user_email_routing TO rainbo"),
        "check_fleet --rds 1 prints",
    ),
    "wrong type": (
        statement("ALTER TABLE user_email_routing ALTER updated_at TYPE text USING updated_at"),
        statement(
            "ALTER TABLE user_email_routing ALTER updated_at DROP DEFAULT, ALTER updated_at "
            "TYPE timestamptz USING updated_at::timestamptz"
        ),
        "column updated_at is text, not timestamptz",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_source_changes_nothing_and_is_named(
    cached: Instance, registered: InstanceFleet, fault: str
) -> None:
    damage, repair, words = FAULTS[fault]
    damage(registered)
    run = run_sync(SYNC)
    assert (run.state, part(run).state) == (RunState.FAILED, TargetState.FAILED)
    assert words in part(run).error
    assert cached.rainbo_password not in everything(run)
    assert shown_emails() == before()
    repair(registered)
    succeeds_unaided()


def test_a_wrong_password_is_named_and_not_told(cached: Instance) -> None:
    row = RdsInstance.objects.get(pk=1)
    row.set_password("hunter2-wrong")
    row.save()
    run = run_sync(SYNC)
    assert "rejected the password for role rainbo: check --user and the password" in part(run).error
    assert "hunter2-wrong" not in everything(run)
    assert cached.rainbo_password not in everything(run)
    assert shown_emails() == before()
    row.set_password(cached.rainbo_password)
    row.save()
    succeeds_unaided()


def test_a_black_hole_is_given_up(
    cached: Instance, black_hole: tuple[str, int], settings: Settings
) -> None:
    settings.RAINBO_CONNECT_TIMEOUT = 2
    row = RdsInstance.objects.get(pk=1)
    right = row.port
    row.port = black_hole[1]
    row.set_password(cached.rainbo_password)
    row.save()
    run = run_sync(SYNC)
    assert "did not answer" in part(run).error
    assert shown_emails() == before()
    row.port = right
    row.set_password(cached.rainbo_password)
    row.save()
    succeeds_unaided()


def test_a_publish_is_one_transaction(cached: Instance) -> None:
    """A publish whose last step fails leaves nothing of its first steps."""
    query("ALTER TABLE syncs_confirmation ADD CONSTRAINT refuse CHECK (rows = 0) NOT VALID")
    try:
        run = run_sync(SYNC)
    finally:
        query("ALTER TABLE syncs_confirmation DROP CONSTRAINT refuse")
    assert run.state == RunState.FAILED
    assert shown_emails() == before()
    succeeds_unaided()


def test_the_lease_is_free_after_every_end(cached: Instance) -> None:
    cached.server.stop()
    run_sync(SYNC)
    assert Lease.objects.get(sync=SYNC).expires_at is None


def test_a_second_master_is_refused_by_the_database(registered: InstanceFleet) -> None:
    with pytest.raises(IntegrityError, match="at_most_one_master"):
        RdsInstance.objects.filter(pk=2).update(is_master=True)


def test_readers_see_one_state_and_never_wait(cached: Instance) -> None:
    with child("sync_user_routing") as command:
        with locked_at_home("syncs_confirmation", "EXCLUSIVE"):
            until(waits_at_home(SYNC))  # merged, not yet confirmed
            query("SET statement_timeout = '1s'")
            assert shown_emails() == before()
            query("RESET statement_timeout")
        assert command.end()[0] == 0
    assert shown_emails() == after()
    assert counts(newest()) == (10, 1, 1, 1, 0)
