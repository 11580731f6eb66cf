"""Keys and indexes that another version of PostgreSQL made."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command

from common import terminal
from common.clock import database_now
from syncs.models import Confirmation, RunState
from syncs.status import problems
from syncs.transfer import digest
from tenants.find import lookup
from tenants.models import SearchKeys
from tenants.routes import search_keys
from tests.caches import query, run_sync
from tests.instances import Instance, InstanceFleet

NEWER_LETTER = "\U0001611e"  # assigned in Unicode 16, which no Python before 3.14 knows


@pytest.fixture
def upgraded(registered: InstanceFleet) -> Instance:
    """RAINBO's database as pg_upgrade leaves it: one letter composes otherwise than before."""
    for number in range(1, 4):
        registered.master.add_route(number, f"u{number}@example.com")
    run_sync("user_routing")
    SearchKeys.objects.update_or_create(
        pk=1, defaults={"server_major": 13, "made_at": database_now()}
    )
    confirmed = Confirmation.objects.get(sync="user_routing")
    basis = digest.format_basis(digest.parse_basis(confirmed.basis) | {"key": "1/13"})
    Confirmation.objects.filter(pk=confirmed.pk).update(basis=basis)
    query("UPDATE user_routes SET email_key = 'as before' WHERE source_id = '2'")
    return registered.master


def run(*words: str) -> int:
    try:
        call_command(*words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def named_problems() -> list[str]:
    found = problems.judge(problems.read(database_now()))
    return [problem.text for problem in found if problem.key == "search-keys/outdated"]


def test_a_new_installation_is_not_outdated(transactional_db: None) -> None:
    SearchKeys.objects.all().delete()
    search_keys.remember_first()
    assert not search_keys.read().is_outdated
    assert named_problems() == []


def test_an_upgrade_is_told_and_is_no_corruption(
    upgraded: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    (text,) = named_problems()
    assert "made by PostgreSQL 13" in text
    assert "rebuild_search_keys" in text
    assert run("verify_cache") == 1
    out = capsys.readouterr().out
    assert "OUTDATED" in out
    assert "CORRUPT" not in out
    assert run("verify_cache", "--json") == 1
    assert json.loads(capsys.readouterr().out)["search_keys"]["made_by"] == 13


def test_one_command_rebuilds_keys_and_indexes(
    upgraded: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    files = "SELECT relname, relfilenode FROM pg_class WHERE relname = 'routes_by_name_all'"
    before = query(files)
    assert not lookup.find("u2@example.com").shown
    assert run("rebuild_search_keys") == 0
    assert query(files) != before
    assert lookup.find("u2@example.com").shown
    assert named_problems() == []
    assert run("verify_cache") == 0


def test_a_master_that_is_down_leaves_it_to_be_done(
    upgraded: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    upgraded.server.stop()
    assert run("rebuild_search_keys") == 3
    assert "may still be wrong" in capsys.readouterr().out
    assert len(named_problems()) == 1


def test_the_next_sync_reads_in_full_by_itself(upgraded: Instance) -> None:
    done = run_sync("user_routing")
    assert done.state == RunState.SUCCEEDED
    assert "makes another key of an e-mail" in " ".join(line.message for line in done.log.all())
    assert lookup.find("u2@example.com").shown
    assert len(named_problems()) == 1  # the indexes are not rebuilt


@pytest.mark.parametrize(
    ("text", "is_fine"),
    [
        (f"{NEWER_LETTER}@example.com", True),
        ("ann@example.com", True),
        ("a\nb", False),
        ("a\0", False),
        ("a\u202eb", False),
        ("a\u2028b", False),
    ],
)
def test_letters_newer_than_pythons_are_letters(*, text: str, is_fine: bool) -> None:
    assert terminal.is_one_line(text) == is_fine


def test_an_e_mail_with_a_newer_letter_is_found(registered: InstanceFleet) -> None:
    registered.master.add_route(1, f"{NEWER_LETTER}@example.com")
    run_sync("user_routing")
    assert lookup.find(f"{NEWER_LETTER}@example.com").shown
