from __future__ import annotations

import json

import pytest
from django.core.management import call_command

from tests.caches import query, run_sync
from tests.instances import Instance, InstanceFleet
from tests.tenants.jobs.test_sync_user_routing import fill


@pytest.fixture
def cached(registered: InstanceFleet) -> Instance:
    fill(registered.master, 100)
    registered[2].add_tenant(1)
    run_sync("tenant_summaries")
    run_sync("user_routing")
    return registered.master


def verify(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    try:
        call_command("verify_cache")
    except SystemExit as end:
        return int(end.code or 0), capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_untouched_caches_stand(cached: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = verify(capsys)
    assert code == 0
    assert "user_routing of instance 1: 100 rows are as confirmed at" in out
    assert "tenant_summaries of instance 2: 1 rows are as confirmed" in out
    assert "user_routing: the sources have not changed." in out


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE user_routes SET user_name = 'x' WHERE source_id = '7'",
        "DELETE FROM user_routes WHERE source_id = '7'",
        "UPDATE user_routes SET email_key = 'x' WHERE source_id = '7'",
        "UPDATE tenant_master SET user_count = 5",
    ],
)
def test_a_row_that_somebody_wrote_is_corruption(
    cached: Instance, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    query(damage)
    code, out = verify(capsys)
    assert code == 1
    assert "CORRUPT" in out
    run_sync("tenant_summaries")
    run_sync("user_routing")
    assert verify(capsys)[0] == 0


def test_changes_at_the_source_are_counted_and_no_fault(
    cached: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    cached.execute("DELETE FROM user_email_routing WHERE id = 7")
    cached.add_route(200, "new@example.com")
    code, out = verify(capsys)
    assert code == 0
    assert "changed at the sources since the last sync: 1 added, 0 changed, 1 removed." in out


def test_a_source_that_is_down_is_unknown_not_fine(
    cached: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    cached.server.stop()
    code, out = verify(capsys)
    assert code == 3
    assert "not all sources could be read" in out


def test_json_is_one_document(cached: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    call_command("verify_cache", "--json")
    document = json.loads(capsys.readouterr().out)
    assert {proof["corrupt"] for proof in document["proofs"]} == {False}
    assert {source["state"] for source in document["sources"]} == {"succeeded"}


def test_a_held_instance_was_read(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    for row_id in range(1, 10):
        registered[2].add_tenant(row_id)
    run_sync("tenant_summaries")
    registered[2].execute("DELETE FROM tenants")
    code, out = verify(capsys)
    assert (
        "tenant_summaries: changed at the sources since the last sync: 0 added, 0 changed, "
        "9 removed. A sync would hold the changes of instance 2 (rds2) for review."
    ) in out
    assert "could be read: \n" not in out
    assert code == 0


def test_a_source_that_is_not_read_is_named_next_to_a_held_one(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    for row_id in range(1, 10):
        registered[2].add_tenant(row_id)
    run_sync("tenant_summaries")
    registered[2].execute("DELETE FROM tenants")
    registered[3].server.stop()
    code, out = verify(capsys)
    assert code == 3
    assert "tenant_summaries: not all sources could be read: instance 3 (rds3): instance 3" in out
    assert "instance 2" not in out.partition("could be read: ")[2].partition("\n")[0]
