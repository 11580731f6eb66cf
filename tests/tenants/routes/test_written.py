"""Syncs of a directory of which a count proves that nothing but new rows changed."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql
from pytest_django import Settings

from syncs.models import RunState, SyncRun
from syncs.transfer import difference, unchanged, written
from syncs.transfer.copy_stream import Connection
from syncs.transfer.staging import Stage
from syncs.transfer.unchanged import Earlier, Found
from syncs.transfer.written import Written
from tenants.routes import directory, miscounts
from tests.caches import counts, part, query, run_sync, withheld
from tests.instances import Instance
from tests.plain_routes import cached, expected
from tests.tenants.jobs.test_sync_user_routing import fill, in_full
from tests.tenants.routes.test_by_count import (
    SYNC,
    by_digests,
    known,
    remember,
    synced_until_marked,
)
from tests.tenants.routes.test_by_difference import CHANGES
from tests.tenants.routes.test_unchanged import flushed

FOUND = "found by a count: "
ONE = "UPDATE user_email_routing SET status = 'x' WHERE id = 7"
DELETED = {"delete", "another id"}  # the count does not add up
UNKEYED = "ALTER TABLE user_email_routing DROP CONSTRAINT user_email_routing_pkey"


def found(run: SyncRun) -> str:
    said = run.log.filter(message__startswith=FOUND).first()
    return said.message.removeprefix(FOUND) if said else ""


@pytest.fixture
def synced(master: Instance) -> Instance:
    """Twenty routes, cached, of which a count can say that nothing changed."""
    fill(master, 20)
    synced_until_marked(master)
    return master


@pytest.fixture
def unaware(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of deletes: the server's statistics come late."""
    monkeypatch.setattr(Earlier, "expects_deletes", lambda *_: False)


def proves_itself(source: Instance, settings: Settings) -> bool:
    """Whether the routes are right, and digests of all find nothing to change or to repair."""
    assert cached() == expected(source)
    settings.RAINBO_ROUTES_DIGEST_PERIOD = 0
    run = run_sync(SYNC)
    return (counts(run)[1:4], in_full(run), run.state) == ((0, 0, 0), "", RunState.SUCCEEDED)


@pytest.mark.parametrize("change", sorted(CHANGES.keys() - DELETED))
def test_new_rows_are_read_alone(
    synced: Instance, settings: Settings, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    digested = known()["digested"]
    with monkeypatch.context() as patch:
        patch.setattr(difference, "ask_digests", None)
        synced.execute(CHANGES[change])
        flushed(synced)
        run = run_sync(SYNC)
        assert found(run) == ("2 rows may be new" if "ids" in change else "1 row may be new")
        assert (by_digests(run), in_full(run), run.state) == (None, "", RunState.SUCCEEDED)
        if "marks" in known():
            assert known()["digested"] == digested
            again = run_sync(SYNC)
            assert (counts(again)[1:4], by_digests(again)) == ((0, 0, 0), None)
    assert proves_itself(synced, settings)


@pytest.mark.parametrize("change", sorted(DELETED))
@pytest.mark.parametrize("also", ["", ONE.replace("7", "8"), CHANGES["insert"]])
def test_deletes_are_left_to_digests(
    synced: Instance, settings: Settings, unaware: None, change: str, also: str
) -> None:
    synced.execute(f"{CHANGES[change]}; {also}")
    said = by_digests(run_sync(SYNC)) or ""
    assert said == "19 rows, 20 before" or said.endswith("new, and others were deleted")
    assert proves_itself(synced, settings)


def test_without_that_condition_a_deleted_row_would_stay(
    synced: Instance, unaware: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Written._derive_digests
    monkeypatch.setattr(Written, "_derive_digests", lambda self: real(self) - 1)
    synced.execute(f"DELETE FROM user_email_routing WHERE id = 8; {CHANGES['insert']}")
    assert found(run_sync(SYNC)) == "1 row may be new"
    assert cached() != expected(synced)


def test_deletes_that_the_server_has_counted_are_left_to_digests_at_once(
    synced: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "count", None)
    remember(deleted=int(known()["deleted"]) - 1)
    assert by_digests(run_sync(SYNC)) == "rows were deleted"


@pytest.fixture
def one_bucket(synced: Instance, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """All twenty routes in one bucket of digests."""
    monkeypatch.setattr(directory, "FEWEST", 1)
    run_sync(SYNC, force=True)
    flushed(synced)
    run_sync(SYNC)
    assert {"marks", "buckets"} <= known().keys()
    assert known()["buckets"] == "1"
    return synced


def hashed(run: SyncRun) -> bool:
    return run.log.filter(message__startswith="hashes of rows were compared in ").exists()


@pytest.mark.parametrize("deleted", [1, 2, 3, 4])
@pytest.mark.parametrize("also", ["", ONE, CHANGES["insert"], CHANGES["another id"]])
def test_deleted_rows_are_found_by_digests(
    one_bucket: Instance, settings: Settings, deleted: int, also: str
) -> None:
    one_bucket.execute(f"DELETE FROM user_email_routing WHERE id > {20 - deleted}; {also}")
    run = run_sync(SYNC)
    assert part(run).error == ""
    gone = deleted + (also == CHANGES["another id"])
    assert (hashed(run), in_full(run), run.state) == (gone > 3, "", RunState.SUCCEEDED)
    assert (by_digests(run), counts(run)[3]) != (None, 0)
    assert proves_itself(one_bucket, settings)


@pytest.mark.parametrize("is_dropped", [False, True])
def test_what_new_and_deleted_rows_do_not_explain(
    synced: Instance, monkeypatch: pytest.MonkeyPatch, is_dropped: bool
) -> None:
    """A row was updated and looks old; another was deleted."""
    real = unchanged.newer_ids

    def none(*given: Any) -> sql.Composed:
        return sql.SQL("{} AND false").format(real(*given))

    monkeypatch.setattr(unchanged, "newer_ids", none)
    if is_dropped:
        monkeypatch.setattr(Written, "_explains", lambda *_: True)
    synced.execute(f"{ONE}; DELETE FROM user_email_routing WHERE id = 8")
    run = run_sync(SYNC)
    assert (hashed(run), in_full(run) == "") == (not is_dropped, not is_dropped)
    assert cached() == expected(synced)


def test_damage_of_a_deleted_route_is_left_to_hashes(synced: Instance) -> None:
    query("UPDATE user_routes SET status = 'damaged' WHERE source_id = '8'")
    synced.execute("DELETE FROM user_email_routing WHERE id = 8")
    assert hashed(run_sync(SYNC))
    assert cached() == expected(synced)


def test_a_deleted_row_without_an_id_is_read_in_full(synced: Instance, settings: Settings) -> None:
    synced.execute(f"{UNKEYED}; ALTER TABLE user_email_routing ALTER id DROP NOT NULL")
    synced.execute("INSERT INTO user_email_routing (email) VALUES ('x@y.z')")
    for _ in range(2):  # the second remembers the table as it is
        flushed(synced)
        run_sync(SYNC)
    synced.execute(f"DELETE FROM user_email_routing WHERE id IS NULL; {ONE}")
    run = run_sync(SYNC)
    assert in_full(run).startswith("rows without an id")
    assert run.state == RunState.SUCCEEDED
    assert proves_itself(synced, settings)


def test_hashes_find_deleted_rows_where_counts_are_off(
    synced: Instance, settings: Settings
) -> None:
    settings.RAINBO_ROUTES_DIGEST_PERIOD = 0
    synced.execute("DELETE FROM user_email_routing WHERE id = 8")
    assert hashed(run_sync(SYNC))
    assert cached() == expected(synced)


@pytest.mark.parametrize("is_dropped", [False, True])
def test_an_old_row_with_the_id_of_a_new_one(
    synced: Instance,
    settings: Settings,
    unaware: None,
    monkeypatch: pytest.MonkeyPatch,
    is_dropped: bool,
) -> None:
    """One comes with an id that is there, another goes: the count would add up."""
    synced.execute(UNKEYED)
    flushed(synced)
    run_sync(SYNC)
    synced.execute("INSERT INTO user_email_routing (id) VALUES (7)")
    synced.execute("DELETE FROM user_email_routing WHERE id = 8")
    if is_dropped:  # those that look old are not read
        real = difference.pull

        def newer(stage: Stage, *rest: object) -> int:
            real(stage, *rest)  # type: ignore[arg-type]
            return stage.session.execute("DELETE FROM incoming_routes WHERE email <> ''").rowcount

        monkeypatch.setattr(difference, "pull", newer)
    run = run_sync(SYNC)
    if is_dropped:
        assert (by_digests(run), cached() == expected(synced)) == (None, False)
    else:
        assert by_digests(run) == "rows that may be new have the ids of others"
        assert in_full(run) == ""
        assert proves_itself(synced, settings)


def test_rows_without_an_id(synced: Instance) -> None:
    synced.execute("ALTER TABLE user_email_routing DROP CONSTRAINT user_email_routing_pkey")
    synced.execute("ALTER TABLE user_email_routing ALTER id DROP NOT NULL")
    flushed(synced)
    run_sync(SYNC, force=True)
    synced.execute("INSERT INTO user_email_routing (email, tenant_id, user_id) VALUES ('x', 1, 1)")
    run = run_sync(SYNC)
    assert in_full(run) == "rows without an id, or with a very long one, changed"
    assert run.state == RunState.SUCCEEDED
    assert query("SELECT source_id FROM syncs_withheldrow") == [("(no id)",)]


def test_another_table_read_by_id(synced: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    synced.execute("CREATE TABLE spare (); GRANT SELECT ON spare TO rainbo")
    flushed(synced)
    real = difference.pull

    def pull(stage: object, query: object, source: Connection, *rest: object) -> int:
        source.execute("TABLE spare")
        return real(stage, query, source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(difference, "pull", pull)
    synced.execute(ONE)
    assert by_digests(run_sync(SYNC)) == "another table was read"
    assert cached() == expected(synced)


def test_many_new_rows_are_left_to_digests(
    synced: Instance, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "FEW", 1)
    synced.execute("UPDATE user_email_routing SET status = 'x' WHERE id IN (7, 8)")
    assert by_digests(run_sync(SYNC)) == "2 rows may be new"
    assert proves_itself(synced, settings)


def test_a_transaction_in_progress_at_the_last_publish(
    synced: Instance, settings: Settings
) -> None:
    """What committed meanwhile, at or above its number, looks new again, and is what it was."""
    with synced.connect(autocommit=False) as writer:
        writer.execute(ONE)
        synced.execute(ONE.replace("7", "8"))
        flushed(synced)
        assert counts(run_sync(SYNC)) == (20, 0, 1, 0, 0)
        flushed(synced)
        again = run_sync(SYNC)
        assert counts(again) == (20, 0, 0, 0, 0)
        writer.commit()
    flushed(synced)
    last = run_sync(SYNC)
    assert counts(last) == (20, 0, 1, 0, 0)
    if by_digests(again) is None and by_digests(last) is None:
        assert (found(again), found(last)) == ("1 row may be new", "2 rows may be new")
    assert proves_itself(synced, settings)


def test_a_row_that_moves_to_another_partition(master: Instance, settings: Settings) -> None:
    master.execute(
        "ALTER TABLE user_email_routing RENAME TO former; CREATE TABLE user_email_routing "
        "(LIKE former) PARTITION BY LIST (status); CREATE TABLE here PARTITION OF "
        "user_email_routing FOR VALUES IN ('Active'); CREATE TABLE there PARTITION OF "
        "user_email_routing DEFAULT; GRANT SELECT ON user_email_routing TO rainbo"
    )
    fill(master, 20)
    run_sync(SYNC)
    flushed(master)
    run_sync(SYNC)
    master.execute(ONE)
    run = run_sync(SYNC)
    assert found(run) == "1 row may be new" or by_digests(run) == "rows were deleted"
    assert proves_itself(master, settings)


def test_collisions_are_decided_again(synced: Instance, settings: Settings) -> None:
    synced.execute("UPDATE user_email_routing SET updated_at = '2026-01-01' WHERE id = 7")
    synced.add_route(2000, "USER7@example.com", 7)
    flushed(synced)
    run = run_sync(SYNC)
    assert (found(run), counts(run)) == ("2 rows may be new", (21, 1, 1, 0, 1))
    assert withheld() == {"7": "account 2000 of this tenant has the same e-mail"}
    synced.execute("UPDATE user_email_routing SET tenant_id = 8 WHERE id = 2000")
    assert counts(run_sync(SYNC)) == (21, 0, 2, 0, 0)
    assert withheld() == {}
    assert proves_itself(synced, settings)


def test_a_held_change_is_found_again(synced: Instance, settings: Settings) -> None:
    settings.RAINBO_GUARD_ROUTES_REMOVED = (2, 10)
    settings.RAINBO_GUARD_MOVED_PERCENT = 10
    before = known()
    synced.execute("UPDATE user_email_routing SET rds_instance_id = 2, tenant_id = 99")
    flushed(synced)
    for _ in range(2):
        run = run_sync(SYNC)
        assert (run.state, found(run)) == (RunState.HELD, "20 rows may be new")
    assert known() == before


def test_a_dry_run_remembers_nothing(synced: Instance) -> None:
    before = known()
    synced.execute(ONE)
    assert counts(run_sync(SYNC, dry_run=True)) == (20, 0, 1, 0, 0)
    assert known() == before


def test_digests_check_new_rows_too(synced: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    synced.execute(f"{ONE}; {ONE.replace('7', '8')}")
    remember(digested=0)
    real = unchanged.newer_ids
    with monkeypatch.context() as patch:
        patch.setattr(unchanged, "count", lambda *_: Found(rows=20, newer=1, others=0))
        patch.setattr(
            unchanged,
            "newer_ids",
            lambda *given: sql.SQL("{} AND source.id = 7").format(real(*given)),
        )
        run = run_sync(SYNC)
    assert part(run).note == miscounts.MISCOUNT
    assert cached() == expected(synced)


def test_digests_find_new_rows_where_they_are_due(synced: Instance, settings: Settings) -> None:
    synced.execute(ONE)
    remember(digested=0)
    run = run_sync(SYNC)
    assert by_digests(run) == "it is time to check what counts said"
    assert (part(run).note, counts(run)) == ("", (20, 0, 1, 0, 0))
    assert proves_itself(synced, settings)


def test_damage_of_a_route_that_is_replaced_is_found_by_digests(
    synced: Instance, settings: Settings
) -> None:
    """Its old value was not what was published, so that the digests are not right either."""
    query("UPDATE user_routes SET status = 'damaged' WHERE source_id = '7'")
    synced.execute(ONE)
    assert found(run_sync(SYNC)) == "1 row may be new"
    assert cached() == expected(synced)
    settings.RAINBO_ROUTES_DIGEST_PERIOD = 0
    assert "digests of cache and source differ" in in_full(run_sync(SYNC))
    assert proves_itself(synced, settings)
