"""setup_part_search makes the indexes of parts, and syncs keep them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from common.errors import RainboError
from syncs.engine.guard import PlannedChange
from syncs.models import RunState
from syncs.transfer.session import open_session
from tenants.find import part_search
from tenants.find.search import search
from tenants.routes import part_index
from tenants.routes.merge import RouteChanges
from tests.caches import query, run_sync
from tests.instances import Instance

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def removed() -> Iterator[None]:
    yield
    part_search.remove()
    query("DROP EXTENSION IF EXISTS pg_trgm CASCADE")


def indexes() -> set[str]:
    found = query("SELECT indexname FROM pg_indexes WHERE indexname LIKE '%%\\_by\\_part'")
    return {name for (name,) in found}


def test_the_command_makes_and_removes_them(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        call_command("setup_part_search")
        assert "find parts of words" in capsys.readouterr().out
        assert indexes() == {*part_search.INDEXES}
        assert search("xyz").has_parts
    call_command("setup_part_search", "--remove")
    assert indexes() == set()
    assert not search("xyz").has_parts


@pytest.mark.parametrize(
    ("extension", "words"),
    [
        ("file_fdw", "superuser run there: CREATE EXTENSION pg_trgm"),  # which is not trusted
        ("nowhere", "the server of RAINBO's own database has no pg_trgm"),
    ],
)
def test_where_it_cannot_be_created_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, extension: str, words: str
) -> None:
    monkeypatch.setattr(part_search, "EXTEND", f"CREATE EXTENSION {extension}")
    with pytest.raises(RainboError, match=words):
        part_search.create()
    assert indexes() == set()


def test_an_extension_in_another_schema_is_told() -> None:
    query("CREATE SCHEMA elsewhere")
    try:
        query("CREATE EXTENSION pg_trgm SCHEMA elsewhere")
        with pytest.raises(RainboError, match=r"in the schema elsewhere, .* SET SCHEMA public"):
            part_search.create()
    finally:
        query("DROP SCHEMA elsewhere CASCADE")


def test_a_first_fill_makes_the_index_afterwards(
    master: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that was lost comes back with the next sync; a dry run drops nothing."""
    monkeypatch.setattr(part_index, "FEW", 0)
    call_command("setup_part_search")
    master.add_route(1, "ann.smith@example.com")
    before = oid()
    run_sync("user_routing", dry_run=True)
    assert oid() == before
    run_sync("user_routing")
    assert oid() not in (None, before)
    assert [row.source_id for row in search("nn.smi").near.rows] == ["1"]
    before = oid()
    master.add_route(2, "bob.smith@example.com")
    run_sync("user_routing")
    assert oid() == before
    assert len(search("smith@ex").near.rows) == 2
    query("DROP INDEX routes_by_part")
    run_sync("user_routing")
    assert indexes() == {*part_search.INDEXES}


def test_a_fill_that_is_attached_builds_the_index(master: Instance) -> None:
    query("DROP TABLE user_routes_all")
    call_command("setup_part_search")
    before = oid()
    master.add_route(1, "ann.smith@example.com")
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    assert [row.source_id for row in search("nn.smi").near.rows] == ["1"]
    assert oid() == before
    built = "SELECT reloptions FROM pg_class WHERE relname = 'routes_by_part_all'"
    assert query(built) == [(["gin_pending_list_limit=65536"],)]
    master.add_route(2, "bob.smith@example.com")
    run_sync("user_routing")
    assert len(search("smith@ex").near.rows) == 2
    assert query("SELECT gin_clean_pending_list('routes_by_part_all')") == [(0,)]  # it is clean
    call_command("setup_part_search", "--remove")
    assert query("SELECT to_regclass('routes_by_part_all')") == [(None,)]


def test_neither_a_fill_nor_a_removal_waits_for_a_reader_or_lets_one_wait(
    master: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is asked for makes all wait that ask later, as long as a reader is before it."""
    monkeypatch.setattr(part_index, "FEW", 0)
    call_command("setup_part_search")
    master.add_route(1, "ann.smith@example.com")
    before = oid()
    with open_session("reader") as reader, reader.transaction():
        reader.execute("SELECT FROM user_routes")
        began = time.monotonic()
        assert run_sync("user_routing").state == RunState.SUCCEEDED
        assert [row.source_id for row in search("nn.smi").near.rows] == ["1"]
        with pytest.raises(RainboError, match="is being read"):
            call_command("setup_part_search", "--remove")
        assert time.monotonic() - began < 15  # the session's own limit is 30
    assert oid() == before


def test_a_sync_makes_no_index_that_nobody_asked_for(master: Instance) -> None:
    query("CREATE EXTENSION pg_trgm")
    master.add_route(1, "ann.smith@example.com")
    run_sync("user_routing")
    assert indexes() == set()


def test_a_table_that_is_locked_is_left_for_the_next_sync(master: Instance) -> None:
    call_command("setup_part_search")
    query("DROP INDEX routes_by_part")
    nothing = PlannedChange(0, 0, 0)
    with open_session("test") as session, transaction.atomic():
        session.execute("SET lock_timeout = 100")
        query("LOCK TABLE user_routes IN ROW EXCLUSIVE MODE")
        part_index.keep(session, RouteChanges(0, 0, 0, 0, 0, nothing))
    assert indexes() == {part_index.OF_TENANTS}


def oid() -> Any:
    ((found,),) = query("SELECT to_regclass('routes_by_part')::oid")
    return found
