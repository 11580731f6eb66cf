"""Syncs that find no digests of the last publish: those of the stored routes are computed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from syncs.models import BucketDigest, Confirmation, RunState
from syncs.transfer import digest, proof
from tenants.fleet import identity
from tenants.routes import directory
from tests.caches import counts, query, run_sync, versions, withheld
from tests.instances import Instance
from tests.plain_routes import cached, expected
from tests.tenants.jobs.test_sync_user_routing import fill, in_full, recomputed
from tests.tenants.routes.test_by_difference import CHANGES
from tests.tenants.routes.test_in_full import COLLIDE, CORRUPT, DAMAGES, SHOWN, remember

SYNC = "user_routing"
FORGOTTEN = "no digests were kept"


def digests() -> set[tuple[Any, ...]]:
    return set(BucketDigest.objects.values_list("bucket", "rows", "xor", "sum"))


@pytest.fixture
def forgotten(master: Instance) -> Instance:
    """Two hundred routes, one of which is withheld for its e-mail and one unusable."""
    fill(master, 200)
    master.execute(COLLIDE)
    master.execute("UPDATE user_email_routing SET email = '' WHERE id = 11")
    run_sync(SYNC)
    assert withheld().keys() == {"8"}
    identity.forget_proofs(1)
    return master


def test_nothing_changed_and_nothing_is_written(forgotten: Instance) -> None:
    before = versions()
    run = run_sync(SYNC)
    assert (recomputed(run), in_full(run), run.state) == (FORGOTTEN, "", RunState.SUCCEEDED)
    assert counts(run) == (200, 0, 0, 0, 2)
    assert versions() == before
    assert cached() == expected(forgotten)


def test_digests_are_kept_again(master: Instance) -> None:
    fill(master, 200)
    run_sync(SYNC)
    before = digests()
    identity.forget_proofs(1)
    assert recomputed(run_sync(SYNC)) == FORGOTTEN
    assert digests() == before
    assert recomputed(run_sync(SYNC)) == ""


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found(forgotten: Instance, change: str) -> None:
    forgotten.execute(CHANGES[change])
    run = run_sync(SYNC)
    assert (recomputed(run), in_full(run)) == (FORGOTTEN, "")
    assert cached() == expected(forgotten)
    assert counts(run_sync(SYNC))[1:4] == (0, 0, 0)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_routes_are_read_again(forgotten: Instance, damage: str) -> None:
    query(damage)
    run = run_sync(SYNC)
    assert (recomputed(run), in_full(run)) == (FORGOTTEN, "")
    assert cached() == expected(forgotten)


@pytest.mark.parametrize("damage", SHOWN)
def test_who_is_shown_by_mistake_is_found(forgotten: Instance, damage: str) -> None:
    query(SHOWN[damage])
    run = run_sync(SYNC)
    assert (recomputed(run), in_full(run)) == ("", CORRUPT)
    assert cached() == expected(forgotten)


@pytest.mark.parametrize("fact", [fact for fact in directory.FACTS if fact != "digest"])
def test_what_the_digests_were_made_of_changed(master: Instance, fact: str) -> None:
    fill(master, 200)
    run_sync(SYNC)
    remember(**{fact: "md5" if fact == "hash" else "other"})
    query(DAMAGES[0])
    run = run_sync(SYNC)
    assert (recomputed(run), in_full(run)) == (directory.FACTS[fact], "")
    assert cached() == expected(master)
    assert recomputed(run_sync(SYNC)) == ""


def test_another_query_is_another_source(
    forgotten: Instance, tmp_path: Path, settings: Settings
) -> None:
    run_sync(SYNC)
    settings.RAINBO_SOURCE_SQL = tmp_path
    (tmp_path / "sync_user_routing.sql").write_text(
        "SELECT id, email, tenant_id, rds_instance_id, user_id, user_name, updated_at, "
        "CASE WHEN id % 10 = 0 THEN 'Unknown' ELSE status END AS status FROM user_email_routing"
    )
    run = run_sync(SYNC)
    assert (recomputed(run), counts(run)) == (directory.FACTS["sql"], (200, 0, 20, 0, 2))


def test_another_version_of_digests_reads_all(
    forgotten: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unusable may be judged in another way then, which digests don't show."""
    run_sync(SYNC)
    facts = digest.parse_basis(Confirmation.objects.get(sync=SYNC).basis)
    del facts["share"]  # whatever else is missing
    Confirmation.objects.update(basis=digest.format_basis(facts))
    monkeypatch.setattr(digest, "VERSION", digest.VERSION + 1)
    assert in_full(run_sync(SYNC)) == directory.FACTS["digest"]


def test_a_setting_turns_it_off(forgotten: Instance, settings: Settings) -> None:
    settings.RAINBO_ROUTES_RECOMPUTE = False
    run = run_sync(SYNC)
    assert in_full(run) == f"{FORGOTTEN}, and RAINBO_ROUTES_RECOMPUTE is off"
    assert cached() == expected(forgotten)


def test_a_wrong_comparison_publishes_nothing(
    forgotten: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publish compares what was computed again with the master's digests, once more."""
    real = proof.publish_digests
    failed: list[object] = []

    def spoiled(*given: Any) -> None:
        if not failed:
            failed.append(given)
            given[0].execute("UPDATE recomputed_digests SET xor = xor + 1")
        real(*given)

    monkeypatch.setattr(proof, "publish_digests", spoiled)
    forgotten.execute("UPDATE user_email_routing SET status = 'x' WHERE id = 11")
    run = run_sync(SYNC)
    assert in_full(run) == "digests of cache and source differ; nothing was published"
    assert cached() == expected(forgotten)
