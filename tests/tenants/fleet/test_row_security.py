"""Row-level security hides rows from a role without a word: RAINBO must not take that for less."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command

from syncs.models import RunState, TargetState
from tests.caches import part, query, run_sync, shown_emails
from tests.instances import InstanceFleet

ADVICE = "ALTER ROLE rainbo BYPASSRLS"


def hide(fleet: InstanceFleet, number: int, table: str) -> None:
    fleet[number].execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    fleet[number].execute(f"CREATE POLICY few ON {table} USING (id <= 2)")


def check(*words: str) -> int:
    try:
        call_command("check_fleet", *words)
    except SystemExit as end:
        return int(str(end.code))
    return 0


def tenants() -> list[tuple[Any, ...]]:
    return query(
        "SELECT instance_id, remote_id, name, status, user_count, vanished_at "
        "FROM tenant_master ORDER BY instance_id, remote_id"
    )


def test_a_directory_with_hidden_rows_is_not_taken(registered: InstanceFleet) -> None:
    for number in range(1, 5):
        registered.master.add_route(number, f"u{number}@example.com")
    run_sync("user_routing")
    before = shown_emails()
    hide(registered, 1, "user_email_routing")
    run = run_sync("user_routing")
    assert (run.state, len(before), shown_emails()) == (RunState.FAILED, 4, before)
    assert "hides rows of user_email_routing from rainbo" in part(run).error
    assert ADVICE in part(run).error


@pytest.mark.parametrize("table", ["tenants", "users", "locations"])
def test_an_instance_with_hidden_rows_keeps_its_tenants(
    registered: InstanceFleet, table: str
) -> None:
    for number in range(1, 5):
        registered[2].add_tenant(number)
        registered[2].add_user(number, number, f"u{number}@example.com")
    run_sync("tenant_summaries")
    before = tenants()
    hide(registered, 2, table)
    run = run_sync("tenant_summaries")
    assert (run.state, len(before), tenants()) == (RunState.PARTIAL, 4, before)
    assert part(run, 3).state == TargetState.SUCCEEDED
    assert part(run, 2).state == TargetState.FAILED
    assert f"hides rows of {table} from rainbo" in part(run, 2).error


def test_check_fleet_says_what_to_do(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    hide(registered, 2, "users")
    assert check("--rds", "2") == 1
    said = capsys.readouterr().out
    assert "hides rows of users from rainbo" in said
    assert ADVICE in said


def test_a_role_that_sees_all_rows_reads_them(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 5):
        registered[2].add_tenant(number)
    hide(registered, 2, "tenants")
    registered[2].execute("ALTER ROLE rainbo BYPASSRLS")
    assert part(run_sync("tenant_summaries"), 2).total == 4
    assert check("--rds", "2") == 0
    assert "more than it needs" not in capsys.readouterr().out


def test_the_right_to_see_all_rows_is_too_much_where_nothing_hides_any(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    registered[2].execute("ALTER ROLE rainbo BYPASSRLS")
    check("--rds", "2")
    assert "ALTER ROLE rainbo NOBYPASSRLS;" in capsys.readouterr().out
