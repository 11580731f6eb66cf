from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql
from pytest_django import Settings

from localfleet.servers.fleet import LocalFleet
from syncs.models import BucketDigest, RunState, WithheldRow
from syncs.transfer import copy_stream
from syncs.transfer.copy_stream import Connection, Write
from tenants.models import RdsInstance, UserRoute
from tests.caches import (
    counts,
    everything,
    part,
    query,
    register,
    run_sync,
    shown_emails,
    versions,
    withheld,
)
from tests.instances import Instance, InstanceFleet
from tests.plain_routes import cached, expected
from tests.tenants.jobs.test_sync_user_routing import Extra, fill, in_full

SYNC = "user_routing"


class Wire:
    """What sources sent since the last look: rows of each answer."""

    def __init__(self) -> None:
        self.answers: list[int] = []

    def look(self) -> list[int]:
        seen, self.answers = self.answers, []
        return seen


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Wire:
    """Of digests: no count says before them that nothing changed."""
    settings.RAINBO_ROUTES_DIGEST_PERIOD = 0
    found, real = Wire(), copy_stream.take

    def noted(source: Connection, write: Write) -> int:
        rows = real(source, write)
        found.answers.append(rows)
        return rows

    monkeypatch.setattr(copy_stream, "take", noted)
    return found


@pytest.fixture
def synced(master: Instance, wire: Wire) -> Instance:
    """A thousand routes, cached."""
    fill(master, 1000)
    run_sync(SYNC)
    wire.look()
    return master


def test_nothing_travels_but_digests_when_nothing_changed(synced: Instance, wire: Wire) -> None:
    buckets = synced.execute(
        "SELECT count(DISTINCT hashtextextended(id::text, 0) & 1023) FROM user_email_routing"
    )[0][0]
    run = run_sync(SYNC)
    assert counts(run) == (1000, 0, 0, 0, 0)
    assert wire.look() == [buckets]


def test_only_rows_that_differ_travel(synced: Instance, wire: Wire) -> None:
    """Of the bucket of each of them its hashes, of all rows only theirs."""
    synced.execute("UPDATE user_email_routing SET status = 'Inactive' WHERE id IN (5, 6)")
    synced.execute("DELETE FROM user_email_routing WHERE id = 7")
    run = run_sync(SYNC)
    assert counts(run) == (999, 0, 2, 1, 0)
    _, hashes, rows = wire.look()
    assert hashes < 20
    assert rows == 2


@pytest.mark.parametrize(("theirs", "ours"), [(0, "0"), (1, "1"), (8, "1")])
def test_a_sync_takes_two_processors_of_its_source_at_most(
    synced: Instance, monkeypatch: pytest.MonkeyPatch, theirs: int, ours: str
) -> None:
    synced.execute(f"ALTER ROLE rainbo SET max_parallel_workers_per_gather = {theirs}")
    found, real = [], copy_stream.ask

    def noted(source: Connection, selected: sql.Composable) -> None:
        found.append(source.execute("SHOW max_parallel_workers_per_gather").fetchone())
        real(source, selected)

    monkeypatch.setattr(copy_stream, "ask", noted)
    run_sync(SYNC)
    assert found == [(ours,)]


CHANGES = {
    "insert": "INSERT INTO user_email_routing (id, email, tenant_id, user_id) "
    "VALUES (5000, 'new@example.com', 1, 1)",
    "delete": "DELETE FROM user_email_routing WHERE id = 7",
    "another tenant": "UPDATE user_email_routing SET tenant_id = 99 WHERE id = 7",
    "another instance": "UPDATE user_email_routing SET rds_instance_id = 2 WHERE id = 7",
    "to null": "UPDATE user_email_routing SET status = NULL WHERE id = 7",
    "to empty": "UPDATE user_email_routing SET status = '' WHERE id = 7",
    "columns exchanged": "UPDATE user_email_routing SET status = user_name, user_name = status "
    "WHERE id = 7",
    "another id": "UPDATE user_email_routing SET id = 7000 WHERE id = 7",
    "ids exchanged": "UPDATE user_email_routing AS r SET email = o.email "
    "FROM user_email_routing AS o WHERE (r.id, o.id) IN ((7, 8), (8, 7))",
    "unusable": "UPDATE user_email_routing SET email = NULL WHERE id = 7",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found_without_trust_in_updated_at(synced: Instance, change: str) -> None:
    synced.execute(CHANGES[change])
    run = run_sync(SYNC)
    assert run.state == RunState.SUCCEEDED
    assert in_full(run) == ""
    assert cached() == expected(synced)


def test_a_transaction_that_commits_late_is_found(synced: Instance) -> None:
    with synced.connect(autocommit=False) as writer:
        writer.execute("UPDATE user_email_routing SET updated_at = '2020-01-01' WHERE id = 7")
        synced.execute("UPDATE user_email_routing SET updated_at = now() WHERE id = 8")
        run_sync(SYNC)
        writer.commit()
    assert counts(run_sync(SYNC)) == (1000, 0, 1, 0, 0)
    assert cached() == expected(synced)


@pytest.mark.parametrize("kind", ["uuid", "text", "varchar(64)", "char(40)", "numeric"])
def test_ids_of_any_type(master: Instance, wire: Wire, kind: str) -> None:
    made = "md5(id::text)::uuid" if kind == "uuid" else f"('00' || id)::{kind}"
    fill(master, 1000)
    master.execute(f"ALTER TABLE user_email_routing ALTER id TYPE {kind} USING {made}")
    run_sync(SYNC)
    wire.look()
    master.execute("UPDATE user_email_routing SET status = 'x' WHERE user_id = 7")
    assert counts(run_sync(SYNC)) == (1000, 0, 1, 0, 0)
    assert wire.look()[-1] == 1
    assert query("SELECT remote_user_id FROM user_routes WHERE status = 'x'") == [("7",)]


def test_who_is_shown_changes_with_rows_that_did_not(synced: Instance, wire: Wire) -> None:
    """The winner goes: its loser, whose own row is as it was, steps forward."""
    synced.execute("UPDATE user_email_routing SET updated_at = '2026-01-01'")
    synced.add_route(2000, "USER7@example.com", 7)
    run_sync(SYNC)
    assert withheld() == {"7": "account 2000 of this tenant has the same e-mail"}
    wire.look()
    synced.execute("UPDATE user_email_routing SET tenant_id = 8 WHERE id = 2000")
    assert counts(run_sync(SYNC)) == (1001, 0, 2, 0, 0)
    assert wire.look()[-1] == 1
    assert withheld() == {}
    synced.execute("UPDATE user_email_routing SET tenant_id = 7 WHERE id = 2000")
    assert counts(run_sync(SYNC)) == (1001, 0, 2, 0, 1)
    assert counts(run_sync(SYNC)) == (1001, 0, 0, 0, 1)
    assert cached() == expected(synced)


def test_bad_rows_come_and_go_and_stay(synced: Instance) -> None:
    synced.execute("UPDATE user_email_routing SET email = '' WHERE id IN (3, 4)")
    assert counts(run_sync(SYNC)) == (1000, 0, 0, 2, 2)
    before = versions("syncs_withheldrow")
    synced.execute("UPDATE user_email_routing SET email = 'four@example.com' WHERE id = 4")
    assert counts(run_sync(SYNC)) == (1000, 1, 0, 0, 1)
    assert WithheldRow.objects.get().source_id == "3"
    assert versions("syncs_withheldrow") < before
    assert cached() == expected(synced)


def test_a_dry_run_of_differences_writes_nothing(synced: Instance) -> None:
    before = versions() | versions("syncs_bucketdigest")
    synced.execute("UPDATE user_email_routing SET status = 'x' WHERE id < 100")
    assert counts(run_sync(SYNC, dry_run=True)) == (1000, 0, 99, 0, 0)
    assert versions() | versions("syncs_bucketdigest") == before


def test_digests_are_published_with_the_rows_or_not_at_all(synced: Instance) -> None:
    before = set(BucketDigest.objects.values_list("bucket", "rows", "xor", "sum"))
    synced.execute("UPDATE user_email_routing SET status = 'x' WHERE id = 7")
    query("ALTER TABLE syncs_confirmation ADD CONSTRAINT refuse CHECK (rows = 0) NOT VALID")
    try:
        assert run_sync(SYNC).state == RunState.FAILED
    finally:
        query("ALTER TABLE syncs_confirmation DROP CONSTRAINT refuse")
    assert set(BucketDigest.objects.values_list("bucket", "rows", "xor", "sum")) == before
    assert counts(run_sync(SYNC)) == (1000, 0, 1, 0, 0)
    assert cached() == expected(synced)


def test_a_reader_in_an_old_snapshot_sees_all_of_it(synced: Instance) -> None:
    with connection.copy().cursor() as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM user_email_routing_cache")
        for forced in (False, True):
            synced.execute("UPDATE user_email_routing SET status = status || 'x' WHERE id < 50")
            run_sync(SYNC, force=forced)
            reader.execute("SELECT count(*) FROM user_email_routing_cache WHERE status = 'Active'")
            assert reader.fetchone() == (1000,)
        reader.execute("ROLLBACK")
        reader.connection.close()


EMAILS = ["ann@x.org", "ANN@x.org", "j\u00fcrgen@x.org", "ju\u0308rgen@x.org", "", None, "x" * 321]
TEXTS = [None, "", "a", "NULL", "a,b", "\u00e9\\'\"\t"]

rows = st.fixed_dictionaries(
    {
        "id": st.integers(1, 12),
        "email": st.sampled_from(EMAILS),
        "tenant_id": st.sampled_from([1, 2, None]),
        "rds_instance_id": st.sampled_from([None, 1, 2]),
        "user_id": st.sampled_from([1, 2, None]),
        "user_name": st.sampled_from(TEXTS),
        "status": st.sampled_from(TEXTS),
        "updated_at": st.sampled_from([None, "2026-01-01+00", "2026-01-02+00"]),
    }
)
History = list[list[dict[str, object] | int]]

writes = st.lists(st.one_of(rows, st.integers(1, 12)), min_size=1, max_size=6)
histories = st.lists(writes, min_size=2, max_size=5)


@pytest.fixture(params=["UTF8", "LATIN1"])
def source(
    request: pytest.FixtureRequest,
    registered: InstanceFleet,
    extra_instance: Extra,
    settings: Settings,
) -> Iterator[Instance]:
    """A master whose changes no guard holds, in an encoding."""
    settings.RAINBO_GUARD_ROUTES_REMOVED = (1000, 100)
    settings.RAINBO_WITHHELD_CAP = (1000, 100)
    if request.param == "UTF8":
        yield registered.master
        return
    RdsInstance.objects.update(is_master=False)
    other = extra_instance(4, master=True, encoding=request.param)
    register(other)
    yield other


def write(source: Instance, change: dict[str, object] | int) -> None:
    gone = change if isinstance(change, int) else change["id"]
    source.execute("DELETE FROM user_email_routing WHERE id = %s", [gone])
    if isinstance(change, dict):
        source._insert("user_email_routing", change)


def examples(count: int) -> hypothesis_settings:
    return hypothesis_settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@examples(12)
@given(history=histories)
def test_whatever_happens_the_routes_equal_their_source(source: Instance, history: History) -> None:
    live_through(source, history)


@pytest.mark.soak
@pytest.mark.timeout(600)
@examples(200)
@given(history=histories)
def test_whatever_happens_two_hundred_times(source: Instance, history: History) -> None:
    live_through(source, history)


def live_through(source: Instance, history: History) -> None:
    latin = source.execute("SHOW server_encoding") == [("LATIN1",)]
    source.execute("TRUNCATE user_email_routing")
    source.add_route(100, "anchor@x.org")
    for number, changes in enumerate(history):
        for change in changes:
            if not (latin and isinstance(change, dict) and "\u0308" in (str(change["email"]))):
                write(source, change)
        run = run_sync(SYNC)
        assert run.state == RunState.SUCCEEDED
        assert number == 0 or in_full(run, source.id) == ""
        assert cached() == expected(source)
    assert counts(run_sync(SYNC), source.id)[1:4] == (0, 0, 0)
    assert shown_emails()
    assert UserRoute.objects.filter(source_id="100").exists()


def test_a_copy_at_home_that_is_cancelled_is_not_told_as_the_sources(
    synced: Instance, postgres_servers: LocalFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = copy_stream.take

    def cancelling(source: Connection, write: Write) -> int:
        with postgres_servers["rainbo"].connect() as other:
            other.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                "WHERE state = 'active' AND query LIKE 'COPY \"source_digests\"%'"
            )
        return real(source, write)

    with monkeypatch.context() as patch:
        patch.setattr(copy_stream, "take", cancelling)
        run = run_sync(SYNC)
    assert run.state == RunState.FAILED
    told = "while instance 1 (rds1) was read, RAINBO's own database reported: canceling statement"
    assert told in everything(run)
    assert counts(run_sync(SYNC)) == (1000, 0, 0, 0, 0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("lock", "force", "words"),
    [
        ("LOCK user_routes IN ACCESS EXCLUSIVE MODE", False, "RAINBO's own database kept a table"),
        ("LOCK user_routes IN ACCESS EXCLUSIVE MODE", True, "RAINBO's own database stayed locked"),
        ("SELECT FROM user_routes WHERE source_id = '7' FOR UPDATE", False, "stayed locked"),
    ],
)
def test_a_lock_at_home_is_not_told_as_the_sources(
    synced: Instance, settings: Settings, lock: str, force: bool, words: str
) -> None:
    settings.RAINBO_LEASE_TTL, settings.RAINBO_LEASE_RENEWAL = 6, 1
    synced.execute("UPDATE user_email_routing SET status = 'x' WHERE id = 7")
    with closing(connection.copy()) as other, other.cursor() as cursor:
        cursor.execute(f"BEGIN; {lock}")
        run = run_sync(SYNC, force=force)
    assert run.state == RunState.FAILED
    assert words in f"{run.error} {part(run).error}"
    assert "rds1) kept" not in everything(run)
    assert counts(run_sync(SYNC)) == (1000, 0, 1, 0, 0)
