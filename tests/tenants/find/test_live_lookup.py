"""The master and the instances are asked for an e-mail, within a deadline."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.core.management import call_command

from tenants.find import live_lookup
from tenants.find.live_answers import LiveLookup
from tenants.find.live_lookup import ask
from tenants.find.lookup import find
from tenants.models import RdsInstance
from tests.caches import register, run_sync
from tests.instances import Instance, InstanceFleet

MAIL = "ann@example.com"


def look(email: str = MAIL, limit: float = 10.0) -> LiveLookup:
    return ask(find(email), limit)


@pytest.fixture
def directory(registered: InstanceFleet) -> InstanceFleet:
    """Ann has an account on the master itself and on instance 2."""
    registered.master.add_route(1, MAIL, 7, user_id=70, user_name="Ann")
    registered.master.add_route(2, MAIL, 8, 2, user_id=80, user_name="Ann")
    registered.master.add_user(70, 7, MAIL, name="Ann")
    registered[2].add_user(80, 8, MAIL, name="Ann")
    run_sync("user_routing")
    return registered


def test_every_instance_of_the_email_is_asked(directory: InstanceFleet) -> None:
    live = look(" ANN@example.com".strip())
    assert live.problems == []
    assert [row.source_id for row in live.master.rows] == ["1", "2"]
    users = {name: [user.user_id for user in one.rows] for name, one in live.instances.items()}
    assert users == {"1": ["70"], "2": ["80"]}


def test_an_account_is_found_by_its_id_when_its_email_changed(directory: InstanceFleet) -> None:
    directory[2].execute("UPDATE users SET email = 'anna@example.com' WHERE id = 80")
    directory.master.execute("UPDATE user_email_routing SET email = 'x@y.z' WHERE id = 1")
    live = look()
    assert [user.email for user in live.instances["2"].rows] == ["anna@example.com"]
    assert [row.email for row in live.master.rows] == ["x@y.z", MAIL]


def test_ghost_users_are_left_out(directory: InstanceFleet) -> None:
    directory[2].execute("UPDATE users SET is_ghost_admin = true")
    assert look().instances["2"].rows == ()


def test_an_instance_that_only_the_master_names_is_asked(directory: InstanceFleet) -> None:
    directory.master.add_route(3, MAIL, 9, 3, user_id=90)
    directory[3].add_user(90, 9, MAIL, status="Blocked")
    assert [user.status for user in look().instances["3"].rows] == ["Blocked"]


def test_an_instance_that_is_down_leaves_the_others(directory: InstanceFleet) -> None:
    directory[2].server.stop()
    live = look()
    assert len(live.master.rows) == 2
    assert [user.user_id for user in live.instances["1"].rows] == ["70"]
    (problem,) = live.problems
    assert problem.startswith("Instance 2 (rds2) can't be queried: it refused the connection")
    assert directory[2].rainbo_password not in problem


def test_instances_out_of_use_or_unknown_are_not_asked(directory: InstanceFleet) -> None:
    directory.master.add_route(3, MAIL, 9, 9, user_id=90)
    RdsInstance.objects.filter(pk=2).update(is_active=False)
    assert look().problems == [
        "Instance 2 (rds2) can't be queried: it is not active",
        "Instance 9 can't be queried: it is not registered",
    ]


def test_without_a_master_the_instances_still_answer(directory: InstanceFleet) -> None:
    RdsInstance.objects.update(is_master=False)
    live = look()
    assert live.problems[0].startswith("The master can't be queried: no instance is the master")
    assert [user.user_id for user in live.instances["2"].rows] == ["80"]


def test_more_instances_than_may_be_asked_at_once(
    directory: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_lookup, "AT_ONCE", 1)
    assert look().problems == ["Instance 2 (rds2) can't be queried: only 1 are queried at once"]


def test_servers_that_hang_cost_the_deadline_and_no_more(
    directory: InstanceFleet, black_hole: tuple[str, int]
) -> None:
    host, port = black_hole
    for row in RdsInstance.objects.filter(pk__in=(1, 2)):
        row.host, row.port = host, port
        row.set_password("x")
        row.save()
    began = time.monotonic()
    live = look(limit=7.0)
    assert time.monotonic() - began < 8.0
    assert len(live.problems) == 3
    assert not live.is_found


def test_a_schema_of_another_kind_fails_that_instance_in_words(directory: InstanceFleet) -> None:
    directory[2].execute("ALTER TABLE users RENAME last_login_at TO seen_at")
    live = look()
    assert "last_login_at" in live.problems[0]
    assert [user.user_id for user in live.instances["1"].rows] == ["70"]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_instance_in_another_encoding_answers(
    extra_instance: Any, transactional_db: None, encoding: str
) -> None:
    old: Instance = extra_instance(4, master=True, encoding=encoding)
    register(old)
    old.add_route(1, "josé@example.com", user_id=1)
    old.add_user(1, 1, "José@example.com")
    assert [user.email for user in look("JOSé@example.com").instances["4"].rows] == [
        "José@example.com"
    ]


def test_the_command_tells_what_the_instances_have(
    directory: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    directory[2].execute("UPDATE users SET name = 'Anna' WHERE id = 80")
    call_command("find_user", MAIL, "--live")
    out = capsys.readouterr().out
    assert "On instance 2 (rds2) at " in out
    tenant = "tenant 8 on instance 2 (rds2)"
    said = f"row 2, {tenant}: name is Ann on the master and Anna on instance 2 (rds2)"
    assert f"  {said}\n" in out
    assert "On instance 1 (rds1) at" in out
    call_command("find_user", MAIL, "--live", "--json", "--within", "5")
    live = json.loads(capsys.readouterr().out)["live"]
    assert live["instances"]["2"]["differences"] == [said]
    assert live["instances"]["1"]["users"][0]["user_name"] == "Ann"


def test_the_command_tells_what_begins_so(
    directory: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    directory[2].add_tenant(8, "Annex")
    run_sync("tenant_summaries")
    with pytest.raises(SystemExit, match="1"):
        call_command("find_user", "ann")
    out = capsys.readouterr().out
    assert "0 accounts" not in out
    assert out.count(f"  {MAIL}: instance ") == 2  # by their e-mails; not again by their names
    assert "Tenants:\n  instance 2 (rds2): tenant 8 “Annex” (active)\n" in out
    with pytest.raises(SystemExit, match="1"):
        call_command("find_user", "ann", "--json")
    found = json.loads(capsys.readouterr().out)
    assert [row["source_id"] for row in found["begin"]["rows"]] == ["1", "2"]
    assert found["tenants"] == {
        "rows": [
            {
                "instance_id": 2,
                "remote_id": "8",
                "name": "Annex",
                "status": "active",
                "vanished_at": None,
            }
        ],
        "more": False,
    }
