"""An index of few entries in many pages is rebuilt, and no other."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from localfleet.servers.fleet import LocalFleet
from syncs import hooks
from syncs.engine import pruning, reindexing
from tests.caches import query
from tests.rows import ended_run

pytestmark = pytest.mark.django_db(transaction=True)

SIZE = "SELECT pg_relation_size('runs_of_a_target')"
FILL = """
    INSERT INTO syncs_runtarget (run_id, target, label, state, note, error, error_kind, passing)
    SELECT {run}, n::text, '', 'succeeded', '', '', '', false FROM generate_series(1, 20000) AS n"""


def size() -> int:
    [(found,)] = query(SIZE)
    return int(found)


def vacuum() -> None:
    query("VACUUM syncs_runtarget")


@pytest.fixture
def sparse(monkeypatch: pytest.MonkeyPatch) -> int:
    """One row of a hundred stayed; the index's size."""
    monkeypatch.setattr(reindexing, "LEAST_BYTES", 100_000)
    query("REINDEX TABLE syncs_runtarget")  # which has what earlier tests left
    query(FILL.format(run=ended_run().pk))
    vacuum()
    assert reindexing.rebuild_sparse({"syncs_runtarget"}) == [], "it is full"
    query("DELETE FROM syncs_runtarget WHERE target::int % 100 <> 0")
    vacuum()
    return size()


def test_a_sparse_index_is_rebuilt(sparse: int, caplog: pytest.LogCaptureFixture) -> None:
    assert "syncs_runtarget" in pruning.tables_of_hourly()
    assert "instance_checks" in pruning.tables_of_hourly()
    known = f"{pruning.__name__}.rebuild_indexes_by_itself"
    with caplog.at_level(logging.INFO, "rainbo.pruning"):
        hooks._periodic[known][1]()
    assert "runs_of_a_target" in caplog.text
    assert size() < sparse / 10
    assert reindexing.rebuild_sparse({"syncs_runtarget"}) == []


def test_one_that_has_to_wait_is_left_and_leaves_nothing(
    sparse: int, monkeypatch: pytest.MonkeyPatch, own_connection: psycopg.Connection
) -> None:
    monkeypatch.setattr(reindexing, "SECONDS", 0.3)
    own_connection.execute("LOCK TABLE syncs_runtarget IN ROW EXCLUSIVE MODE")
    assert reindexing.rebuild_sparse({"syncs_runtarget"}) == []
    own_connection.rollback()
    monkeypatch.setattr(reindexing, "SECONDS", 30)
    assert reindexing.rebuild_sparse({"syncs_runtarget"}) != []
    invalid = "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid"
    assert query(invalid) == []


@pytest.fixture
def own_connection(postgres_servers: LocalFleet) -> Iterator[psycopg.Connection]:
    name = str(connection.settings_dict["NAME"])
    with postgres_servers["rainbo"].connect(name, autocommit=False) as found:
        yield found
