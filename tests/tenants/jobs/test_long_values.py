"""Of a long value comes its beginning and the hash of the whole; withheld as ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_django import Settings

from syncs.models import BucketDigest, RunLog, RunState, SyncRun, WithheldRow
from syncs.transfer import copy_stream
from syncs.transfer.digest import Hashing
from tenants.fleet import connections, contract
from tenants.models import RdsInstance, UserRoute
from tenants.summaries import live_tenant
from tests.caches import counts, part, register, run_sync
from tests.instances import Instance, InstanceFleet

NAME = "name longer than 1,000 characters"
LONG = 400_000  # characters, more than the limit of an answer below
KB = 64


@pytest.fixture(autouse=True)
def small(settings: Settings) -> None:
    settings.RAINBO_ANSWER_MAX_KB = KB


def reasons() -> dict[str, str]:
    return dict(WithheldRow.objects.values_list("source_id", "reason"))


def in_full(run: SyncRun) -> list[str]:
    logged = RunLog.objects.filter(run=run, message__startswith="read in full")
    return list(logged.values_list("message", flat=True))


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "SQL_ASCII"])
def test_it_is_withheld_by_its_beginning(
    registered: InstanceFleet, extra_instance: Callable[..., Instance], encoding: str
) -> None:
    RdsInstance.objects.update(is_master=False)
    master = extra_instance(4, master=True, encoding=encoding)
    register(master)
    wide = "\u00fc" if encoding == "LATIN1" else "\U0001f642"
    master.add_route(1, wide * 320, 7, user_name=wide * 1000)  # as long as they may be
    master.add_route(2, "a@example.com", 7, user_name=wide * LONG)
    master.add_route(3, "x" + wide * 2000, 7)
    master.add_route(4, "b@example.com", 7, status="s" * 5000)
    run = run_sync("user_routing")
    assert run.state == RunState.SUCCEEDED
    assert reasons() == {
        "2": NAME,
        "3": "e-mail longer than 320 characters",
        "4": "ids and status longer than 1,000 bytes",
    }
    route = UserRoute.objects.get()
    assert (route.email, route.user_name) == (wide * 320, wide * 1000)


def test_a_change_beyond_its_beginning_is_seen(master: Instance) -> None:
    master.add_route(1, "ann@example.com", 7)
    master.add_route(2, "bob@example.com", 7, user_name="n" * LONG)
    run_sync("user_routing")
    (before,) = WithheldRow.objects.values_list("row_hash", flat=True)
    master.execute("UPDATE user_email_routing SET user_name = user_name || 'x' WHERE id = 2")
    run = run_sync("user_routing")
    (after,) = WithheldRow.objects.values_list("row_hash", flat=True)
    assert run.state == RunState.SUCCEEDED
    assert before != after
    assert in_full(run) == []
    assert reasons() == {"2": NAME}


def test_the_hash_is_that_of_the_whole(master: Instance) -> None:
    """As it was before values were shortened: stored digests stay true."""
    master.add_route(2, "bob@example.com", 7, user_name="n" * LONG)
    run_sync("user_routing")
    query = contract.query("sync_user_routing")
    whole = copy_stream.rows(
        query, Hashing.NATIVE, kinds={column.name: "name" for column in query.columns}
    )
    with connections.connect(RdsInstance.objects.get(pk=1), "test") as source:
        source.execute("SET LOCAL work_mem = '64MB'")
        text = whole.as_string(source)
        (row,) = source.execute(f"SELECT row_hash FROM ({text}) AS r (a,b,c,d,e,f,g,h,row_hash)")
    assert [row[0]] == list(WithheldRow.objects.values_list("row_hash", flat=True))


def test_ids_that_begin_alike_stay_two_rows(master: Instance) -> None:
    master.execute("ALTER TABLE user_email_routing ALTER id TYPE text")
    master.add_route(1, "ann@example.com", 7)
    for end in "ab":
        master.execute(
            "INSERT INTO user_email_routing (id, email, tenant_id, user_id) "
            "VALUES (repeat('i', 2000) || %s, 'bob@example.com', 7, 1)",
            [end],
        )
    assert counts(run_sync("user_routing")) == (3, 1, 0, 0, 2)
    assert counts(run_sync("user_routing")) == (3, 0, 0, 0, 2)
    master.execute("UPDATE user_email_routing SET user_name = 'x' WHERE id LIKE '%%b'", [])
    run = run_sync("user_routing")
    assert counts(run) == (3, 0, 0, 0, 2)
    assert in_full(run) == ["read in full: rows without an id, or with a very long one, changed"]
    assert part(run).note == ""
    assert sum(BucketDigest.objects.values_list("rows", flat=True)) == 3


def test_tenants_are_withheld_alike(registered: InstanceFleet) -> None:
    registered[2].add_tenant(1)
    registered[2].add_tenant(2, "n" * LONG)
    run = run_sync("tenant_summaries")
    assert part(run, 2).withheld == 1
    assert reasons() == {"2": NAME}


def test_a_live_query_reads_no_more(registered: InstanceFleet) -> None:
    registered[2].add_tenant(1)
    run_sync("tenant_summaries")
    registered[2].execute("UPDATE tenants SET name = repeat('n', %s)", [LONG])
    tenant = RdsInstance.objects.get(pk=2).tenants.get()
    found = live_tenant.read(tenant)
    assert found.error == ""
    assert found.differences(tenant) == ["name"]
