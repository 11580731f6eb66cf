from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import call_command

from common.errors import UsageError
from tenants.models import RdsInstance
from tests.instances import InstanceFleet


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs check_fleet on some instances and returns its exit code and document."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        code = 0
        try:
            call_command("check_fleet", "--json", *words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, json.loads(capsys.readouterr().out)

    return run


def texts(document: dict[str, Any], level: str, number: int = 1) -> list[str]:
    one = next(one for one in document["instances"] if one["id"] == number)
    return [finding["text"] for finding in one["findings"] if finding["level"] == level]


def test_a_fleet_as_it_should_be(registered: InstanceFleet, check: Any) -> None:
    code, document = check()
    assert code == 0
    assert [one["ok"] for one in document["instances"]] == [True, True, True]
    assert document["fleet"] == [{"level": "ok", "text": "instance 1 (rds1) is the master"}]
    fine = "\n".join(texts(document, "ok"))
    for words in (
        "reached, not encrypted (ssl mode disable)",
        "PostgreSQL 18",
        "clock within 0.0 s of ours",
        "rainbo has no rights beyond its needs",
        "sync_tenant_summaries: every column as it should be",
        "sync_user_routing: every column as it should be",
        "sync_ghost_users: every column as it should be",
    ):
        assert words in fine


def test_a_weaker_ssl_mode_is_warned_of(registered: InstanceFleet, check: Any) -> None:
    code, document = check()
    assert code == 0
    assert texts(document, "warning") == [
        "ssl mode disable does not prove who the server is: use verify-full"
    ]


def test_the_directory_is_asked_of_the_master_alone(registered: InstanceFleet, check: Any) -> None:
    _, document = check("--rds", "2")
    assert len(document["instances"]) == 1
    assert "sync_user_routing" not in "".join(texts(document, "ok", 2))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("REVOKE SELECT ON locations FROM rainbo", "GRANT SELECT ON locations TO rainbo;"),
        ("REVOKE SELECT ON user_email_routing FROM rainbo", "GRANT SELECT ON user_email_routing"),
        ("ALTER TABLE tenants DROP COLUMN name", "sync_tenant_summaries: the query does not fit"),
        (
            "ALTER TABLE users ALTER last_login_at TYPE timestamp",
            "column last_activity_at is timestamp, not timestamptz (write last_activity_at AT TIME",
        ),
        ("REVOKE INSERT (email) ON users FROM rainbo", "sync_ghost_users: on instance 1 (rds1)"),
        ("REVOKE UPDATE (status) ON users FROM rainbo", "UPDATE (email, name, password, status"),
        ("ALTER TABLE users DROP COLUMN rainbo_admin_id", "sync_ghost_users: the query does not"),
        (
            "CREATE SEQUENCE numbers OWNED BY users.id",
            "GRANT USAGE ON SEQUENCE numbers TO rainbo;",
        ),
    ],
)
def test_what_is_missing_is_named(
    registered: InstanceFleet, check: Any, damage: str, words: str
) -> None:
    registered.master.execute(damage)
    code, document = check()
    assert code == 1
    assert words in "\n".join(texts(document, "error"))
    assert texts(document, "error", 2) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("ALTER ROLE rainbo SUPERUSER", "rainbo is SUPERUSER, more than it needs"),
        ("ALTER ROLE rainbo CREATEDB CREATEROLE", "ALTER ROLE rainbo NOCREATEDB NOCREATEROLE;"),
        ("GRANT SELECT ON users TO rainbo", "rainbo can read users.password"),
        ("GRANT pg_read_all_data TO rainbo", "rainbo can read users.password"),
        ("GRANT DELETE ON tenants TO rainbo", "rainbo can write to tenants"),
        ("GRANT UPDATE (name) ON tenants TO rainbo", "rainbo can write to tenants"),
        ("GRANT UPDATE ON users TO rainbo", "rainbo can write to users"),
    ],
)
def test_more_than_needed_is_warned_of(
    registered: InstanceFleet, check: Any, damage: str, words: str
) -> None:
    registered.master.execute(damage)
    code, document = check()
    assert code == 0
    assert words in "\n".join(texts(document, "warning"))


def test_an_instance_that_is_down_is_an_error(registered: InstanceFleet, check: Any) -> None:
    registered[2].server.stop()
    code, document = check()
    assert code == 1
    assert "refused the connection" in texts(document, "error", 2)[0]
    assert document["instances"][0]["ok"]


def test_a_weaker_login_is_warned_of(registered: InstanceFleet, check: Any) -> None:
    row = RdsInstance.objects.get(pk=2)
    row.require_auth = "md5"
    row.set_password(registered[2].rainbo_password)
    row.save()
    code, document = check()
    assert code == 1
    assert "logging in by md5 is weaker" in "".join(texts(document, "warning", 2))
    assert "requires another authentication method than md5" in texts(document, "error", 2)[0]


def test_a_fleet_without_a_master(registered: InstanceFleet, check: Any) -> None:
    RdsInstance.objects.update(is_master=False)
    code, document = check()
    assert code == 1
    assert document["fleet"][0]["level"] == "error"


def test_an_inactive_instance_is_checked_when_named(registered: InstanceFleet, check: Any) -> None:
    RdsInstance.objects.filter(pk=3).update(is_active=False)
    assert [one["id"] for one in check()[1]["instances"]] == [1, 2]
    assert [one["id"] for one in check("--rds=3")[1]["instances"]] == [3]


def test_an_unknown_instance_is_wrong_usage(registered: InstanceFleet) -> None:
    with pytest.raises(UsageError, match="no instance has the id 7"):
        call_command("check_fleet", "--rds=7")


def test_people_read_one_line_a_finding(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("check_fleet", "--rds=1")
    said = capsys.readouterr().out
    assert "instance 1 (rds1) at 127.0.0.1:" in said
    assert "  warning  ssl mode disable" in said
    assert registered.master.rainbo_password not in said


def test_nothing_is_remembered(registered: InstanceFleet, check: Any) -> None:
    check()
    assert RdsInstance.objects.get(pk=1).identity == ""


def test_what_a_server_says_does_not_steer_the_terminal(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    registered[2].execute('CREATE TABLE "\x1b[2J" (id int)')
    registered[2].execute('GRANT INSERT ON "\x1b[2J" TO rainbo')
    call_command("check_fleet", "--rds", "2")
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\u001b[2J" in said
