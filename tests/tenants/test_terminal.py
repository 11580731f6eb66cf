"""What an instance says and is called reaches no terminal raw."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from tenants.models import RdsInstance
from tests.caches import part, run_sync
from tests.instances import InstanceFleet

Captured = pytest.CaptureFixture[str]


def said(capsys: Captured, *words: str) -> str:
    with pytest.raises(SystemExit):
        call_command(*words)
    captured = capsys.readouterr()
    return captured.out + captured.err


@pytest.fixture
def hostile(registered: InstanceFleet) -> InstanceFleet:
    """Instance 2 has a name with control characters and fails with a message that has some."""
    RdsInstance.objects.filter(pk=2).update(name="\x1b[2Jrds2\u202e")
    registered[2].execute("ALTER TABLE tenants RENAME TO kept")
    registered[2].execute(
        "CREATE FUNCTION boom() RETURNS bigint LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '%', E'\\x1b]0;owned\\x07'; END $$"
    )
    registered[2].execute(
        "CREATE VIEW tenants AS SELECT * FROM kept WHERE boom() IS NOT NULL;"
        "GRANT SELECT ON tenants TO rainbo"
    )
    registered[2].execute("INSERT INTO kept (id, name) VALUES (1, 'one')")
    return registered


def test_an_error_is_kept_without_control_characters(hostile: InstanceFleet) -> None:
    assert "\\u001b]0;owned" in part(run_sync("tenant_summaries"), 2).error


@pytest.mark.parametrize("flag", ["--dry-run", "--json", "--quiet"])
def test_a_sync_tells_of_it(hostile: InstanceFleet, capsys: Captured, flag: str) -> None:
    shown = said(capsys, "sync_tenant_summaries", flag)
    assert not set("\x1b\x07\u202e") & set(shown)
    assert "\\u001b[2Jrds2\\u202e" in shown


def test_the_status_tells_of_it(hostile: InstanceFleet, capsys: Captured) -> None:
    run_sync("tenant_summaries")
    shown = said(capsys, "rainbo_status", "--check")
    assert not set("\x1b\x07\u202e") & set(shown)
    assert "\\u001b[2Jrds2\\u202e" in shown
