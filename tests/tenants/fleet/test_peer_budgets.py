"""What a peer sends has a budget: small limits are set, and little is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pytest_django import Settings

from bench.testbed import hostile_peer as peers
from common.errors import RainboError
from syncs.errors import OwnDatabaseFailed, ProtocolBroken
from syncs.models import RunState
from syncs.transfer import peer as budgets
from syncs.transfer.peer import TooMuchSent, received_bytes
from tenants.fleet import connections
from tenants.models import RdsInstance, UserRoute
from tests.caches import part, query, run_sync, shown_emails
from tests.instances import Instance, InstanceFleet

COPY = b"COPY ("


READ = peers.AMOUNT // 2  # bytes that one call of libpq may read from a peer on the same machine


@pytest.fixture(autouse=True)
def small(settings: Settings) -> None:
    settings.RAINBO_ANSWER_MAX_KB = 64


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was received on a connection, each time that it was looked at."""
    seen: list[int] = []

    def spied(descriptor: int) -> int | None:
        seen.append(received_bytes(descriptor) or 0)
        return seen[-1]

    monkeypatch.setattr(budgets, "received_bytes", spied)
    return seen


@contextmanager
def behind(
    instance: Instance, answer: peers.Answer, after: bytes = COPY
) -> Iterator[peers.HostilePeer]:
    """The instance, registered by the address of a hostile peer in front of it."""
    with peers.hostile_peer((instance.host, instance.port), after, answer) as (peer, port):
        row = RdsInstance.objects.get(pk=instance.id)
        row.port = port
        row.set_password(instance.rainbo_password)
        row.save()
        yield peer


@pytest.mark.parametrize("made_of", peers.FILLING)
def test_what_fills_memory_is_refused(
    registered: InstanceFleet, received: list[int], made_of: str
) -> None:
    registered.master.add_route(1, "ann@example.com")
    with behind(registered.master, peers.FILLING[made_of]) as peer:
        run = run_sync("user_routing")
    assert peer.answered == 1
    assert 64 * 1024 < max(received) < READ
    assert run.state == RunState.FAILED
    assert part(run).error.startswith("instance 1 (rds1) sent more than 64 KB in one message")
    assert "RAINBO_ANSWER_MAX_KB" in part(run).error
    assert not UserRoute.objects.exists()


@pytest.mark.parametrize(
    "answer", ["a COPY to the server", "an error without SQLSTATE", "a message of an unknown type"]
)
def test_what_is_no_round_trip_is_the_instances_fault(
    registered: InstanceFleet, answer: str
) -> None:
    with behind(registered[2], peers.WRONG[answer], b"SELECT 1\0") as peer:
        run = run_sync("instance_health", targets=("2",))
    assert peer.answered
    assert run.state == RunState.FAILED
    assert "instance 2 (rds2)" in part(run, 2).error


@pytest.mark.parametrize("answer", peers.WRONG)
def test_what_is_no_answer_is_the_instances_fault(registered: InstanceFleet, answer: str) -> None:
    with behind(registered.master, peers.WRONG[answer]) as peer:
        run = run_sync("user_routing")
    assert peer.answered
    assert run.state == RunState.FAILED
    assert "instance 1 (rds1)" in part(run).error
    assert "own database" not in part(run).error
    assert "foreign server" not in part(run).error


def test_an_error_without_sqlstate_is_named_as_such(registered: InstanceFleet) -> None:
    error = error_of(registered, peers.WRONG["an error without SQLSTATE"])
    assert isinstance(error, ProtocolBroken)
    assert "did not answer as PostgreSQL does" in str(error)


def error_of(registered: InstanceFleet, answer: peers.Answer) -> RainboError | None:
    """Of a statement by psycopg, which reads the answer itself."""
    with behind(registered[2], answer, b"a statement"):
        (outcome,) = connections.each_instance(
            [RdsInstance.objects.get(pk=2)],
            lambda _, source: source.execute("SELECT 'a statement'").fetchall(),
            "test",
        )
    assert not isinstance(outcome.error, OwnDatabaseFailed)
    return outcome.error


@pytest.mark.parametrize("made_of", peers.FILLING_RESULTS)
def test_a_live_query_has_the_same_budget(
    registered: InstanceFleet, received: list[int], made_of: str
) -> None:
    error = error_of(registered, peers.FILLING_RESULTS[made_of])
    assert isinstance(error, TooMuchSent)
    assert 64 * 1024 < max(received) < READ


@pytest.mark.parametrize("made_of", ["notices", "parameters", "a long error"])
def test_a_login_has_the_same_budget(
    registered: InstanceFleet, received: list[int], made_of: str
) -> None:
    with behind(registered[2], peers.FILLING[made_of], peers.LOGIN) as peer:
        (outcome,) = connections.each_instance(
            [RdsInstance.objects.get(pk=2)], lambda *_: None, "test"
        )
    assert peer.answered == 1
    assert max(received) < READ
    assert isinstance(outcome.error, TooMuchSent)
    assert str(outcome.error).startswith("instance 2 (rds2) sent more than 64 KB")


def test_a_long_error_is_cut(registered: InstanceFleet) -> None:
    error = error_of(registered, lambda: iter([peers.LENGTHY_ERROR, peers.READY]))
    assert str(error).startswith("instance 2 (rds2) reported: mmm")
    assert len(str(error)) < 400


def test_rows_do_not_count_as_an_answer(registered: InstanceFleet) -> None:
    """Many times the limit of an answer, in rows."""
    registered.master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, user_id) "
        "SELECT n, repeat('x', 300) || n, 1, n FROM generate_series(1, 3000) AS n"
    )
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    assert run_sync("user_routing").state == RunState.SUCCEEDED  # by difference


def endless(instance: Instance, rows: int) -> None:
    """A source that has many more rows than before."""
    instance.execute(
        "ALTER TABLE user_email_routing RENAME TO few; "
        f"CREATE VIEW user_email_routing AS TABLE few UNION ALL "
        f"SELECT n, 'a' || n || '@example.com', 1, NULL, n, repeat('n', 900), 'Active', now() "
        f"FROM generate_series(100, {rows}) AS n; "
        "GRANT SELECT ON user_email_routing TO rainbo"
    )


def temporary_bytes() -> int:
    """Of temporary files and tables of RAINBO's own database."""
    ((found,),) = query(
        "SELECT coalesce(sum(pg_relation_size(oid)), 0)::bigint FROM pg_class "
        "WHERE relpersistence = 't'"
    )
    return int(found)


Limit = Callable[[Settings, pytest.MonkeyPatch], None]


def by_rows(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RAINBO_READ_MAX_ROWS = 1000


def by_size(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RAINBO_READ_MAX_MB = 1


def by_growth(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "FLOOR", 1000)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (by_rows, "sent more than 1,000 rows; if the source really has so many, raise"),
        (by_size, "sent more than 1 MB of rows; if the source really has so much, raise"),
        (by_growth, "sent more than 1,000 rows; it had 1 when it was last confirmed"),
    ],
)
def test_a_source_without_end_is_refused(
    registered: InstanceFleet,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    limit: Limit,
    said: str,
) -> None:
    registered.master.add_route(1, "ann@example.com")
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    endless(registered.master, 40_000)
    limit(settings, monkeypatch)
    run = run_sync("user_routing")
    assert run.state == RunState.FAILED
    assert f"instance 1 (rds1) {said}" in part(run).error
    assert shown_emails() == ["ann@example.com"]
    assert temporary_bytes() == 0


def test_one_of_many_without_end_does_not_keep_the_others(
    registered: InstanceFleet, settings: Settings
) -> None:
    for instance in registered.instances:
        instance.add_tenant(1)
    registered[2].execute(
        "INSERT INTO tenants (id, name) SELECT n, 'x' FROM generate_series(2, 500) n"
    )
    settings.RAINBO_READ_MAX_ROWS = 100
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert "instance 2 (rds2) sent more than 100 rows" in part(run, 2).error
    assert part(run, 3).total == 1


def test_the_kernel_counts_what_was_received() -> None:
    assert received_bytes(0) is None
