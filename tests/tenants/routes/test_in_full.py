from __future__ import annotations

from contextlib import closing

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from syncs.models import BucketDigest, Confirmation, RunState
from syncs.transfer import digest
from syncs.transfer.digest import Signature
from tenants.models import RdsInstance
from tenants.routes import directory
from tests.caches import counts, part, query, register, run_sync, withheld
from tests.instances import Instance, InstanceFleet
from tests.plain_routes import cached, expected
from tests.tenants.jobs.test_sync_user_routing import Extra, fill, in_full, recomputed

SYNC = "user_routing"
CORRUPT = "stored routes are not what was published"


@pytest.fixture(autouse=True)
def _by_digests(settings: Settings) -> None:
    """Where a count is enough, none of these reasons is looked for: see `test_by_count`."""
    settings.RAINBO_ROUTES_DIGEST_PERIOD = 0


@pytest.fixture
def synced(master: Instance) -> Instance:
    fill(master, 200)
    run_sync(SYNC)
    return master


def known() -> dict[str, str]:
    return digest.parse_basis(Confirmation.objects.get(sync=SYNC).basis)


def remember(**facts: object) -> None:
    Confirmation.objects.update(basis=digest.format_basis(known() | facts))


def test_the_first_fill_says_why(master: Instance) -> None:
    fill(master, 5)
    assert in_full(run_sync(SYNC)) == "no digests were kept"
    assert in_full(run_sync(SYNC)) == ""


@pytest.mark.parametrize("fact", directory.FACTS)
def test_digests_of_something_else_are_not_compared(
    synced: Instance, settings: Settings, fact: str
) -> None:
    settings.RAINBO_ROUTES_RECOMPUTE = False
    remember(**{fact: "md5" if fact == "hash" else "other"})
    query("UPDATE user_routes SET user_name = 'x' WHERE source_id = '7'")
    run = run_sync(SYNC)
    assert in_full(run) == f"{directory.FACTS[fact]}, and RAINBO_ROUTES_RECOMPUTE is off"
    assert cached() == expected(synced)
    assert in_full(run_sync(SYNC)) == ""


def test_servers_that_hash_alike_are_proved_to(
    synced: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = digest.compute_signature, []

    def sign(server: psycopg.Connection) -> Signature:
        asked.append(server)
        return [(len(asked), 0)] if len(asked) > 1 else real(server)

    monkeypatch.setattr(digest, "compute_signature", sign)
    synced.add_route(999, "j\u00fcrgen@example.com")
    run = run_sync(SYNC)
    assert recomputed(run) == directory.FACTS["hash"]
    assert known()["hash"] == "md5"
    assert cached() == expected(synced)
    asked.clear()
    synced.execute("DELETE FROM user_email_routing WHERE id = 999")
    assert in_full(run_sync(SYNC)) == ""
    assert cached() == expected(synced)


def test_texts_without_an_encoding(registered: InstanceFleet, extra_instance: Extra) -> None:
    RdsInstance.objects.update(is_master=False)
    source = extra_instance(4, master=True, encoding="SQL_ASCII")
    register(source)
    source.add_route(1, "ann@example.com")
    for _ in range(2):
        run = run_sync(SYNC)
    assert in_full(run, 4) == "the master's texts have no encoding"


def test_a_large_part_that_changed(master: Instance) -> None:
    fill(master, 20_000)
    run_sync(SYNC)
    master.execute("UPDATE user_email_routing SET updated_at = '2026-01-01' WHERE id % 3 = 0")
    run = run_sync(SYNC)
    assert in_full(run) == "a large part of the directory changed"
    assert counts(run) == (20_000, 0, 6_666, 0, 0)
    assert cached() == expected(master)


def test_digests_that_became_too_coarse(synced: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "BOUNDS", (0, 0.1))
    assert in_full(run_sync(SYNC)) == "the directory outgrew its digests"


def test_buckets_grow_with_the_rows() -> None:
    assert [directory.buckets_for(rows) for rows in (0, 1, 100_000, 10**6, 10**7)] == [
        1024,
        1024,
        2048,
        16384,
        131072,
    ]


def test_rows_without_an_id(synced: Instance) -> None:
    synced.execute("ALTER TABLE user_email_routing DROP CONSTRAINT user_email_routing_pkey")
    synced.execute("ALTER TABLE user_email_routing ALTER id DROP NOT NULL")
    synced.execute("INSERT INTO user_email_routing (email) VALUES ('a@x.org'), ('b@x.org')")
    run = run_sync(SYNC)
    assert in_full(run) == "rows without an id, or with a very long one, changed"
    assert counts(run) == (202, 0, 0, 0, 2)
    synced.execute("UPDATE user_email_routing SET status = 'x' WHERE id = 7")
    run = run_sync(SYNC)
    assert (in_full(run), counts(run)) == ("", (202, 0, 1, 0, 2))


def test_an_id_that_comes_twice_is_named(synced: Instance) -> None:
    synced.execute("ALTER TABLE user_email_routing DROP CONSTRAINT user_email_routing_pkey")
    synced.execute("INSERT INTO user_email_routing SELECT * FROM user_email_routing WHERE id = 7")
    for forced in (False, True):
        run = run_sync(SYNC, force=forced)
        assert part(run).error == "sync_user_routing.sql returns the id 7 twice"


def test_force_reads_in_full(synced: Instance) -> None:
    run = run_sync(SYNC, force=True)
    assert in_full(run) == "it was asked for by --force"
    assert counts(run) == (200, 0, 0, 0, 0)


DAMAGES = [
    "UPDATE user_routes SET user_name = 'x' WHERE source_id = '7'",
    "UPDATE user_routes SET email_key = 'x' WHERE source_id = '7'",
    "UPDATE user_routes SET remote_instance_id = '3' WHERE source_id = '7'",
    "DELETE FROM user_routes WHERE source_id = '7'",
]
COLLIDE = """
    UPDATE user_email_routing SET (email, tenant_id) =
        (SELECT email, tenant_id FROM user_email_routing WHERE id = 8) WHERE id = 9"""
SHOWN = {
    "one is hidden": "UPDATE user_routes SET withheld_reason = 'x' WHERE source_id = '7'",
    "one is shown": "UPDATE user_routes SET withheld_reason = NULL WHERE source_id = '8'",
    "another is shown": "UPDATE user_routes SET withheld_reason = "
    "CASE source_id WHEN '9' THEN 'x' END WHERE source_id IN ('8', '9')",
    "one instead of another": "UPDATE user_routes SET withheld_reason = "
    "CASE source_id WHEN '7' THEN 'x' END WHERE source_id IN ('7', '8')",
}
STRANGER = """
    INSERT INTO user_routes
    SELECT '88888', email, email_key, remote_instance_id, on_master, remote_tenant_id, '1',
           user_name, status, source_updated_at + interval '1 day', changed_at
      FROM user_routes WHERE source_id = '9'"""


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_by_the_share_of_a_run(synced: Instance, damage: str) -> None:
    query(damage)
    bucket = query("SELECT hashtextextended('7' COLLATE \"C\", 0) & 1023")[0][0]
    remember(share=(bucket - 1) % directory.SHARES)
    assert in_full(run_sync(SYNC)) == ""
    run = run_sync(SYNC)
    assert in_full(run) == CORRUPT
    assert part(run).note == f"read in full: {CORRUPT}"
    assert run.log.get(level="error").message == f"read in full: {CORRUPT}"
    assert cached() == expected(synced)


@pytest.mark.parametrize("damage", SHOWN)
def test_who_is_shown_by_mistake_is_found_by_the_next_run(synced: Instance, damage: str) -> None:
    synced.execute(COLLIDE)
    run_sync(SYNC)
    assert withheld().keys() == {"8"}
    query(SHOWN[damage])
    with pytest.raises(SystemExit):
        call_command("verify_cache")
    undoubted = {name: fact for name, fact in known().items() if name != digest.DOUBTED}
    Confirmation.objects.update(basis=digest.format_basis(undoubted))
    run = run_sync(SYNC)
    assert in_full(run) == CORRUPT
    assert cached() == expected(synced)
    call_command("verify_cache")


def test_a_strangers_row_decides_nothing(synced: Instance) -> None:
    query(STRANGER)
    remember(share=95)
    synced.execute("UPDATE user_email_routing SET status = 'x' WHERE id = 9")
    run = run_sync(SYNC)
    assert in_full(run) == f"{CORRUPT}; nothing was published"
    assert run.state == RunState.SUCCEEDED
    assert cached() == expected(synced)


def test_every_share_gets_its_turn(synced: Instance) -> None:
    shares = set()
    for _ in range(3):
        shares.add(known()["share"])
        run_sync(SYNC)
    assert shares == {"0", "1", "2"}
    remember(share=directory.SHARES - 1)
    run_sync(SYNC)
    assert known()["share"] == "0"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_where_something_changed_is_found_by_the_proof(
    synced: Instance, damage: str
) -> None:
    query(damage)
    remember(share=95)  # of 1024 buckets, and not that of account 7
    synced.execute("UPDATE user_email_routing SET status = 'x' WHERE id = 7")
    run = run_sync(SYNC)
    assert in_full(run) == "digests of cache and source differ; nothing was published"
    assert run.state == RunState.SUCCEEDED
    assert cached() == expected(synced)


@pytest.mark.parametrize("way", ["damaged rows", "damaged digests"])
def test_a_sync_after_verify_cache_mends(synced: Instance, way: str) -> None:
    if way == "damaged rows":
        query(DAMAGES[0])
    else:
        BucketDigest.objects.filter(bucket__lt=100).delete()
    with pytest.raises(SystemExit):
        call_command("verify_cache")
    run_sync(SYNC)
    call_command("verify_cache")
    assert cached() == expected(synced)


def test_the_planner_knows_a_large_merge_at_once(master: Instance) -> None:
    fill(master, 3000)
    query("TRUNCATE user_routes")
    query("ANALYZE user_routes")  # as autovacuum may, while the merge is not yet committed
    run_sync(SYNC)
    assert query("SELECT reltuples FROM pg_class WHERE relname = 'user_routes'") == [(3000,)]


@pytest.mark.timeout(60)
def test_who_vacuums_or_alters_the_routes_holds_no_sync_up(master: Instance) -> None:
    fill(master, 100)
    with closing(connection.copy()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK user_routes IN SHARE UPDATE EXCLUSIVE MODE")
        run = run_sync(SYNC)
    assert (run.state, counts(run)) == (RunState.SUCCEEDED, (100, 100, 0, 0, 0))
