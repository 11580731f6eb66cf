"""A first fill is attached: readers wait for nothing, find no route, and then all of them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connection
from psycopg import sql
from pytest_django import Settings

from localfleet.servers.fleet import LocalFleet
from syncs.models import Confirmation, RunState, SyncRun
from syncs.transfer.session import Session, open_session
from tenants.routes import first_fill, merge, partition
from tests.caches import counts, everything, part, query, run_sync, shown_emails
from tests.children import child, locked_at_home, until, waits_at_home
from tests.instances import Instance
from tests.plain_routes import cached, expected
from tests.tenants.fleet.test_resolution import SHADOW
from tests.tenants.jobs.test_sync_user_routing import fill, in_full

SYNC = "user_routing"
ROW_BY_ROW = "routes were stored row by row"
INDEXES = """
    SELECT relname, regexp_replace(pg_get_indexdef(indexrelid), '^.* USING', ''), indisvalid,
           indexrelid IN (SELECT inhrelid FROM pg_inherits)
      FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
     WHERE indrelid = to_regclass('user_routes_all') ORDER BY 1"""
KEPT = """
    SELECT reloptions, (SELECT array_agg((attname, attcollation, attnotnull) ORDER BY attnum)::text
                          FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0)
      FROM pg_class WHERE oid = to_regclass('user_routes_all')"""


@pytest.fixture
def new(master: Instance) -> Instance:
    """A master with a directory, and a RAINBO that never read it."""
    query("DROP TABLE user_routes_all")
    fill(master, 100)
    return master


def is_divided() -> bool:
    return query("SELECT 1 FROM pg_inherits WHERE inhparent = 'user_routes'::regclass") != []


def stored() -> list[tuple[Any, ...]]:
    columns = ", ".join(["source_id", *merge.COLUMNS])
    return query(f"SELECT {columns} FROM user_routes ORDER BY source_id")


def make_collide(master: Instance) -> None:
    """Some accounts of an e-mail, in one tenant and in several, and rows that can't be stored."""
    for number in range(200, 230):
        master.add_route(
            number, f"Same{number % 5}@example.com", number % 2, user_name=f"S {number}"
        )
    master.add_route(300, "x" * 321, 1)


def test_who_collides_is_unknown_while_it_is_held(new: Instance) -> None:
    make_collide(new)
    run_sync(SYNC)
    query("DROP TABLE user_routes_all")
    new.execute(SHADOW.format(kind="TABLE", table="user_email_routing"))
    run = run_sync(SYNC)
    assert run.state == RunState.HELD
    assert counts(run) == (131, 130, 0, 0, None)
    accepting = run_sync(SYNC, accept_held=run.pk, reason="a rebuild")
    assert accepting.state == RunState.SUCCEEDED, part(accepting).note
    assert counts(accepting) == (131, 130, 0, 0, 21)


def test_it_publishes_what_a_merge_does(new: Instance, settings: Settings) -> None:
    make_collide(new)
    results = []
    for attach in (True, False):
        settings.RAINBO_ROUTES_ATTACH = attach
        run = run_sync(SYNC)
        assert run.state == RunState.SUCCEEDED, run.error
        assert counts(run) == (131, 130, 0, 0, 21)
        assert cached() == expected(new)
        basis = Confirmation.objects.get(sync=SYNC).basis.partition(" share")[0]
        results.append((stored(), query(INDEXES), query(KEPT), basis))
        assert (ROW_BY_ROW in everything(run)) is not attach
        call_command("verify_cache")
        assert in_full(run_sync(SYNC)) == ""
        query("DROP TABLE user_routes_all")
        Confirmation.objects.all().delete()
    assert results[0] == results[1]
    assert len(results[0][1]) == 6
    assert {attached for *_, attached in results[0][1]} == {True}


def test_a_dry_run_leaves_nothing(new: Instance) -> None:
    assert counts(run_sync(SYNC, dry_run=True)) == (100, 100, 0, 0, 0)
    assert not is_divided()
    assert query("SELECT to_regclass('user_routes_all')") == [(None,)]


# --- Readers ---


@contextmanager
def before_the_end(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[], None]
) -> Iterator[list[bool]]:
    """Call `look` when all is done but the commit."""
    publish = first_fill.publish
    looked: list[bool] = []

    def publish_and_look(session: Session, changes: merge.RouteChanges) -> merge.RouteChanges:
        found = publish(session, changes)
        look()
        looked.append(True)
        return found

    monkeypatch.setattr(first_fill, "publish", publish_and_look)
    yield looked
    assert looked == [True]


AUTOVACUUM = "pg_stat_get_last_autoanalyze_time(to_regclass('user_routes_all'))"
COUNT = "SELECT count(*) FROM user_routes"


def test_whoever_reads_meanwhile_neither_waits_nor_holds_it_up(
    new: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        open_session("early") as early,
        open_session("late") as late,
        open_session("repeatable") as repeatable,
    ):
        for reader in (early, late, repeatable):
            reader.execute("SET lock_timeout = '1ms'; SET statement_timeout = '5s'")
        early.execute("BEGIN")
        repeatable.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert early.execute(COUNT).fetchone() == (0,)
        assert repeatable.execute(COUNT).fetchone() == (0,)

        def look() -> None:
            for reader in (early, late, repeatable):
                assert reader.execute(COUNT).fetchone() == (0,)

        with before_the_end(monkeypatch, look):
            assert run_sync(SYNC).state == RunState.SUCCEEDED
        assert early.execute(COUNT).fetchone() == (100,)
        assert late.execute(COUNT).fetchone() == (100,)
        assert repeatable.execute(COUNT).fetchone() == (0,)
        repeatable.execute("SET enable_seqscan = off")
        by_index = "SELECT FROM user_routes WHERE email_key LIKE 'user%'"
        assert repeatable.execute(by_index).rowcount == 0
        repeatable.execute("COMMIT")
        assert repeatable.execute(COUNT).fetchone() == (100,)


def test_look_ups_all_the_while_find_nothing_and_then_all(new: Instance) -> None:
    """Each would fail if it had to wait for a lock for a millisecond."""
    found: list[int] = []
    failed: list[BaseException] = []
    ended = threading.Event()

    def look_up() -> None:
        try:
            with open_session("reader") as reader:
                reader.execute("SET lock_timeout = '1ms'")
                while not ended.is_set() or not found or not found[-1]:
                    rows = reader.execute(
                        "SELECT FROM user_routes WHERE email_key LIKE %s", ["user%"], prepare=True
                    )
                    found.append(rows.rowcount)
        except psycopg.Error as error:
            failed.append(error)

    readers = [threading.Thread(target=look_up) for _ in range(2)]
    for reader in readers:
        reader.start()
    until(lambda: len(found) > 10)
    assert run_sync(SYNC).state == RunState.SUCCEEDED
    ended.set()
    for reader in readers:
        reader.join(20)
    assert failed == []
    assert {*found} == {0, 100}


# --- Ends midway ---


@pytest.mark.parametrize(
    "step",
    [
        "CREATE TABLE user_routes_all",
        'INSERT INTO "user_routes_all"',
        "ATTACH PARTITION",
        "ALTER INDEX",
        "ANALYZE user_routes_all",
        "UPDATE user_routes AS r SET withheld_reason",
        "CREATE TEMP TABLE proved",
        "INSERT INTO syncs_bucketdigest",
    ],
)
def test_a_session_that_is_ended_at_a_step_leaves_nothing(
    new: Instance, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    execute = Session.execute
    ended: list[str] = []

    def end(self: Session, statement: Any, *given: Any, **options: Any) -> Any:
        text = statement if isinstance(statement, str) else statement.as_string(self)
        if step in text and not ended:
            ended.append(step)
            query("SELECT pg_terminate_backend(%s, 5000)", self.info.backend_pid)
        return execute(self, statement, *given, **options)

    monkeypatch.setattr(Session, "execute", end)
    run = run_sync(SYNC)
    assert ended == [step]
    assert run.state == RunState.FAILED
    assert not is_divided()
    assert query("SELECT to_regclass('user_routes_all')") == [(None,)]
    assert shown_emails() == []
    assert run_sync(SYNC).state == RunState.SUCCEEDED
    assert cached() == expected(new)


def test_a_process_that_is_killed_leaves_nothing(new: Instance) -> None:
    short = {"RAINBO_LEASE_TTL": "6", "RAINBO_LEASE_RENEWAL": "1"}
    mode = "SHARE UPDATE EXCLUSIVE"  # as a vacuum has it
    with locked_at_home("user_routes", mode), child("sync_user_routing", **short) as command:
        until(waits_at_home(SYNC))
        command.signal(signal.SIGKILL)
        command.end()
    assert shown_emails() == []
    until(lambda: run_sync(SYNC).state == RunState.SUCCEEDED)
    assert cached() == expected(new)
    assert SyncRun.objects.filter(state=RunState.LOST).count() == 1


def test_rows_that_do_not_equal_their_source_are_not_published(
    new: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "_NEXT", merge._NEXT.replace("user_id AS", "user_id || 'x' AS"))
    run = run_sync(SYNC)
    assert (run.state, part(run).error_kind) == (RunState.FAILED, "proof")
    assert not is_divided()


def test_one_id_twice_is_named(new: Instance) -> None:
    new.execute("ALTER TABLE user_email_routing DROP CONSTRAINT user_email_routing_pkey CASCADE")
    new.add_route(7, "again@example.com")
    run = run_sync(SYNC)
    assert "user_routing.sql returns the id 7 twice" in part(run).error
    assert not is_divided()


# --- Later, and without it ---


def test_a_directory_that_is_empty_at_first_is_attached_later(new: Instance) -> None:
    new.execute("DELETE FROM user_email_routing")
    assert run_sync(SYNC).state == RunState.SUCCEEDED
    assert not is_divided()
    fill(new, 3)
    run = run_sync(SYNC)
    assert (run.state, in_full(run)) == (RunState.SUCCEEDED, "")
    assert is_divided()
    assert cached() == expected(new)


def test_later_syncs_go_their_usual_way(new: Instance) -> None:
    run_sync(SYNC)
    new.execute("UPDATE user_email_routing SET status = 'x' WHERE id < 4")
    new.execute("DELETE FROM user_email_routing WHERE id = 4")
    new.add_route(1000, "new@example.com")
    assert counts(run_sync(SYNC)) == (100, 1, 3, 1, 0)
    assert cached() == expected(new)


def test_a_table_that_was_emptied_keeps_its_partition(new: Instance) -> None:
    run_sync(SYNC)
    before = query("SELECT 'user_routes_all'::regclass::oid")
    query("TRUNCATE user_routes")
    run = run_sync(SYNC, force=True)
    assert f"{ROW_BY_ROW}: user_routes had routes before" in everything(run)
    assert cached() == expected(new)
    assert query("SELECT 'user_routes_all'::regclass::oid") == before


def test_the_switch_is_in_the_log(new: Instance, settings: Settings) -> None:
    settings.RAINBO_ROUTES_ATTACH = False
    assert f"{ROW_BY_ROW}: RAINBO_ROUTES_ATTACH is off" in everything(run_sync(SYNC))
    assert cached() == expected(new)


@pytest.mark.parametrize("what", ["ALL TABLES", "TABLE user_routes"])
def test_a_copy_gets_all_routes(
    new: Instance, superuser: psycopg.Connection[Any], what: str
) -> None:
    """Rows from before a table is attached are not replicated."""
    superuser.execute(f"CREATE PUBLICATION copies FOR {what}")
    try:
        assert f"{ROW_BY_ROW}: user_routes is replicated by copies" in everything(run_sync(SYNC))
    finally:
        superuser.execute("DROP PUBLICATION copies")
    assert cached() == expected(new)


@pytest.fixture
def superuser(new: Instance, postgres_servers: LocalFleet) -> Iterator[psycopg.Connection[Any]]:
    name = str(connection.settings_dict["NAME"])
    role = sql.Identifier(str(connection.settings_dict["USER"]))
    with postgres_servers["rainbo"].connect(name) as session:
        yield session
        session.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(role))
        session.execute(sql.SQL("ALTER TABLE user_routes OWNER TO {}").format(role))


TAKEN = {
    "REVOKE ALL ON SCHEMA public FROM PUBLIC, {role}; "
    "DO $$BEGIN EXECUTE format('REVOKE CREATE ON SCHEMA public FROM %I', "
    "(SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'public')); END$$; "
    "GRANT USAGE ON SCHEMA public TO PUBLIC": "GRANT CREATE ON SCHEMA public TO rainbo",
    "ALTER TABLE user_routes OWNER TO postgres; GRANT ALL ON user_routes TO {role}": (
        "ALTER TABLE user_routes OWNER TO rainbo"
    ),
}


@pytest.mark.parametrize("taken", TAKEN, ids=["create", "owner"])
def test_a_role_that_can_not_create_is_told_what_it_needs(
    superuser: psycopg.Connection[Any], new: Instance, taken: str
) -> None:
    assert run_checks(databases=["default"]) == []
    superuser.execute(taken.format(role="rainbo").encode())
    (found,) = run_checks(databases=["default"])
    run = run_sync(SYNC)
    assert run.state == RunState.FAILED
    assert TAKEN[taken] in found.msg
    assert found.msg == part(run).error
    superuser.execute(TAKEN[taken].encode())
    assert run_sync(SYNC).state == RunState.SUCCEEDED
    superuser.execute(taken.format(role="rainbo").encode())  # later syncs don't need it
    new.add_route(1000, "new@example.com")
    assert run_sync(SYNC).state == RunState.SUCCEEDED
    assert cached() == expected(new)


@pytest.mark.parametrize(("at", "rows"), [("now() - interval '1 hour'", 100), ("now()", 101)])
def test_statistics_of_the_whole_follow_those_of_the_partition(
    new: Instance, monkeypatch: pytest.MonkeyPatch, at: str, rows: int
) -> None:
    run_sync(SYNC)
    looked = partition.HAS_OLD_STATISTICS
    monkeypatch.setattr(partition, "HAS_OLD_STATISTICS", looked.replace(AUTOVACUUM, at))
    assert looked != partition.HAS_OLD_STATISTICS
    new.add_route(1000, "new@example.com")
    run_sync(SYNC)
    assert query("SELECT reltuples FROM pg_class WHERE relname = 'user_routes'") == [(rows,)]
