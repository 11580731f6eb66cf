"""Syncs of a directory that a count proves unchanged, and those that digests have to look at."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from common.clock import database_now
from syncs.models import Confirmation, RunState, SyncRun
from syncs.transfer import difference, digest, unchanged
from syncs.transfer.unchanged import Found
from tenants.routes import directory
from tenants.routes.miscounts import MISCOUNT, MISCOUNTS, judge
from tests.caches import counts, part, query, run_sync, versions
from tests.instances import Instance
from tests.plain_routes import cached, expected
from tests.tenants.jobs.test_sync_user_routing import fill, in_full
from tests.tenants.routes.test_unchanged import flushed

SYNC = "user_routing"
FIRST = "compared by digests: "


def by_digests(run: SyncRun) -> str | None:
    said = run.log.filter(message__startswith=FIRST).first()
    return said.message.removeprefix(FIRST) if said else None


def known() -> dict[str, str]:
    return digest.parse_basis(Confirmation.objects.get(sync=SYNC).basis)


def problems() -> list[str]:
    return [problem.text for problem in judge(MISCOUNTS.read_alone(database_now()))]


def remember(**facts: object) -> None:
    basis = digest.format_basis(known() | facts)
    Confirmation.objects.filter(sync=SYNC).update(basis=basis)


def synced_until_marked(source: Instance) -> None:
    """Sync until a count can say that nothing changed: others may add to the log meanwhile."""
    run_sync(SYNC)
    for _ in range(5):
        flushed(source)
        if "marks" in known():
            return
        assert by_digests(run_sync(SYNC)) == "nothing is remembered of the last publish's snapshot"
    raise AssertionError("no run remembers its snapshot")


@pytest.fixture
def synced(master: Instance) -> Instance:
    """Twenty routes, cached, of which a count can say that nothing changed."""
    fill(master, 20)
    synced_until_marked(master)
    return master


def test_a_count_is_enough(synced: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difference, "ask_digests", None)
    before, basis = versions() | versions("syncs_bucketdigest"), known()
    for _ in range(2):
        run = run_sync(SYNC)
        assert (counts(run), run.state) == ((20, 0, 0, 0, 0), RunState.SUCCEEDED)
        assert (in_full(run), by_digests(run)) == ("", None)
    assert versions() | versions("syncs_bucketdigest") == before
    assert known() == basis | {"share": str(int(basis["share"]) + 2)}


def test_a_delete_is_left_to_digests(synced: Instance) -> None:
    synced.execute("DELETE FROM user_email_routing WHERE id = 7")
    assert by_digests(run_sync(SYNC)) in {"19 rows, 20 before", "rows were deleted"}
    assert cached() == expected(synced)


def test_a_setting_turns_counts_off(synced: Instance, settings: Settings) -> None:
    settings.RAINBO_ROUTES_DIGEST_PERIOD = 0
    assert by_digests(run_sync(SYNC)) == "RAINBO_ROUTES_DIGEST_PERIOD is 0"
    assert "marks" not in known()


@pytest.mark.parametrize("hours", [-1, 1])
def test_digests_check_what_counts_said(synced: Instance, hours: int) -> None:
    """Once the period has passed, or if the clock was set back."""
    assert by_digests(run_sync(SYNC)) is None
    remember(digested=int(known()["digested"]) - 3600 * hours)
    flushed(synced)
    assert by_digests(run_sync(SYNC)) == "it is time to check what counts said"
    flushed(synced)
    run_sync(SYNC)
    assert by_digests(run_sync(SYNC)) is None


def test_a_wrong_count_is_said_aloud_and_not_trusted_again(
    synced: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced.execute("UPDATE user_email_routing SET status = 'x' WHERE id = 7")
    remember(digested=0)
    with monkeypatch.context() as patch:
        patch.setattr(unchanged, "count", lambda *_: Found(rows=20, newer=0, others=0))
        run = run_sync(SYNC)
    assert run.log.get(level="error").message == MISCOUNT
    assert part(run).note == MISCOUNT
    assert cached() == expected(synced)
    assert "then run python manage.py sync_user_routing --force" in problems()[0]
    for _ in range(2):
        flushed(synced)
        assert by_digests(run_sync(SYNC)) == f"{MISCOUNT}, before; --force lifts this"
    flushed(synced)
    run_sync(SYNC, force=True)
    assert "miscounted" not in known()
    assert problems() == []


def test_damage_of_the_cache_is_found_by_the_share_of_a_counted_run(synced: Instance) -> None:
    query("UPDATE user_routes SET status = 'x' WHERE source_id = '7'")
    bucket = query("SELECT hashtextextended('7' COLLATE \"C\", 0) & 1023")[0][0]
    remember(share=bucket % directory.SHARES)
    run = run_sync(SYNC)
    assert in_full(run) == directory.NOT_PUBLISHED
    assert cached() == expected(synced)


def test_what_is_not_on_disk_is_not_remembered(
    synced: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchanged, "is_on_disk", lambda *_: False)
    synced.execute("UPDATE user_email_routing SET status = 'x' WHERE id = 7")
    run_sync(SYNC)
    assert "marks" not in known()
    assert cached() == expected(synced)


def test_a_held_change_is_not_remembered(synced: Instance, settings: Settings) -> None:
    settings.RAINBO_GUARD_ROUTES_REMOVED = (2, 10)
    before = known()
    synced.execute("DELETE FROM user_email_routing")
    synced.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, user_id) "
        "SELECT 100 + n, 'x' || n, 1, n FROM generate_series(1, 20) AS n"
    )
    flushed(synced)
    for _ in range(2):
        run = run_sync(SYNC)
        assert run.state == RunState.HELD
        assert by_digests(run) in {
            "rows were deleted",
            "20 rows may be new, and others were deleted",
        }
    assert known() == before
