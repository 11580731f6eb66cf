from __future__ import annotations

import json
import re
import unicodedata
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.db import connection
from django.test import Client
from django.utils import timezone

from syncs.models import Confirmation, RunState, TargetState, WithheldRow
from tenants.find.lookup import find
from tenants.models import RdsInstance, RouteRemoval, Tenant, UserRoute
from tenants.routes import queries
from tests.caches import query, register, run_sync
from tests.instances import Instance, InstanceFleet
from tests.pages import text_of
from tests.rows import confirmation, ended_run, instance_row, run_part

MAIL = "ann@example.com"
Captured = pytest.CaptureFixture[str]


def look(capsys: Captured, email: str = MAIL, *flags: str) -> tuple[int, str]:
    """Exit code and standard output."""
    try:
        call_command("find_user", email, *flags)
    except SystemExit as end:
        return int(str(end.code)), capsys.readouterr().out
    return 0, capsys.readouterr().out


def look_json(capsys: Captured, email: str = MAIL, *flags: str) -> tuple[int, dict[str, Any]]:
    code, out = look(capsys, email, "--json", *flags)
    return code, json.loads(out)


@pytest.fixture
def directory(master: Instance) -> Instance:
    """A master where Ann has an account in a tenant of instance 1 and of instance 2."""
    master.add_route(1, "Ann@Example.com", 7, user_id=70, user_name="Ann")
    master.add_route(2, MAIL, 8, 2, user_id=80)
    master.add_route(3, "bob@example.com", 9)
    return master


def test_all_accounts_of_an_email_are_told(directory: Instance, capsys: Captured) -> None:
    run_sync("user_routing")
    Tenant.objects.create(
        instance_id=1,
        remote_id="7",
        name="Acme",
        status="trial",
        cache_refreshed_at=timezone.now(),
    )
    RdsInstance.objects.filter(pk=1).update(health="healthy", last_check_at=timezone.now())
    RdsInstance.objects.filter(pk=2).update(is_active=False)
    code, out = look(capsys, " ANN@example.com ")
    assert code == 0
    assert re.search(r"ANN@example\.com: 2 accounts \(cache \d+ s old, on time\)", out)
    assert re.search(r"instance 1 \(rds1\), healthy, checked \d s ago: tenant 7 “Acme” ", out)
    assert "tenant 7 “Acme” (trial), user 70 “Ann”, Active\n" in out
    assert "instance 2 (rds2), not active: tenant 8 on instance 2, not yet read, user 80" in out


def test_a_name_like_an_option_is_a_name() -> None:
    parser = load_command_class("tenants", "find_user").create_parser("manage.py", "find_user")
    given = parser.parse_args(["--live", "--", "-rf@x.example"])
    assert (given.email, given.live) == ("-rf@x.example", True)


def test_json_is_one_document(directory: Instance, capsys: Captured) -> None:
    run_sync("user_routing")
    code, found = look_json(capsys)
    assert (code, found["found"], found["key"]) == (0, True, MAIL)
    assert [route["source_id"] for route in found["routes"]] == ["1", "2"]
    assert found["cache"]["synced_at"] == Confirmation.objects.get().at.isoformat()
    assert found["cache"]["age_seconds"] >= 0
    assert (found["why"], found["live"]) == ([], None)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_both_unicode_forms_are_one_email(master: Instance, form: Any, capsys: Captured) -> None:
    master.add_route(1, "José@example.com")
    run_sync("user_routing")
    assert look(capsys, unicodedata.normalize(form, "JOSé@example.com"))[0] == 0


def test_look_alikes_are_others(master: Instance, capsys: Captured) -> None:
    master.add_route(1, "\u212aim@example.com")  # the Kelvin sign
    run_sync("user_routing")
    assert look(capsys, "kim@example.com")[0] == 1
    assert look(capsys, "\u212aim@example.com")[0] == 0


def test_what_was_never_seen(directory: Instance, capsys: Captured) -> None:
    run_sync("user_routing")
    code, out = look(capsys, "eve@example.com")
    assert code == 1
    assert "Why: no sync has ever seen it." in out


def test_what_was_removed_says_when(directory: Instance, capsys: Captured) -> None:
    run_sync("user_routing")
    directory.execute("DELETE FROM user_email_routing WHERE id = 3")
    run_sync("user_routing")
    removal = RouteRemoval.objects.get()
    code, out = look(capsys, "bob@example.com")
    assert code == 1
    assert f"Why: it was removed at {removal.removed_at:%Y-%m-%d %H:%M} UTC from tenant 9" in out
    assert look_json(capsys, "bob@example.com")[1]["removals"][0]["tenant_id"] == "9"


def test_what_is_withheld_says_why(directory: Instance, capsys: Captured) -> None:
    directory.add_route(4, "BOB@example.com", 9)
    run_sync("user_routing")
    code, out = look(capsys, "bob@example.com")
    assert code == 0
    assert out.count("withheld: instance 1") == 1
    UserRoute.objects.update(withheld_reason="policy")
    code, out = look(capsys, "bob@example.com")
    assert code == 1
    assert "Why: its routes are withheld" in out


def test_a_cache_that_never_synced_or_is_stale_says_so(
    directory: Instance, capsys: Captured
) -> None:
    assert "Why: the routes have never been synced (never confirmed" in look(capsys)[1]
    run_sync("user_routing")
    Confirmation.objects.update(at=timezone.now() - timedelta(hours=5))
    assert "Why: the routes are 5 h old, stale" in look(capsys, "eve@example.com")[1]


@pytest.mark.django_db
@pytest.mark.parametrize("email", [MAIL, "eve@example.com"])
def test_a_held_run_of_the_routes_is_named(capsys: Captured, email: str) -> None:
    """Found or not: what it holds may be the answer."""
    instance_row(1, is_master=True)
    confirmation()
    UserRoute.objects.create(
        source_id="1",
        email=MAIL,
        email_key=MAIL,
        remote_instance_id="1",
        on_master=True,
        remote_tenant_id="5",
        remote_user_id="9",
        changed_at=timezone.now(),
    )
    run = ended_run(state=RunState.HELD, ago=timedelta(minutes=1))
    run_part(run, state=TargetState.HELD, note="25 of 100", held_counts={"removed": 25})
    code, out = look(capsys, email)
    assert code == (0 if email == MAIL else 1)
    assert re.search(rf"^  .*\brun {run.pk}\b", out, re.MULTILINE), out
    held = look_json(capsys, email)[1]["cache"]["held"]
    assert "25" in held


def test_a_master_that_is_not_active_says_so(directory: Instance, capsys: Captured) -> None:
    RdsInstance.objects.filter(is_master=True).update(is_active=False)
    assert "Why: the master is not active" in look(capsys)[1]


def test_unusable_rows_may_be_it(directory: Instance, capsys: Captured) -> None:
    run_sync("user_routing")
    WithheldRow.objects.create(
        sync="user_routing", target="1", source_id="9", row_hash=1, reason="undecodable"
    )
    assert (
        "1 row of the directory could not be stored: it may be that one"
        in look(capsys, "eve@example.com")[1]
    )


def test_the_master_agrees(directory: Instance, capsys: Captured) -> None:
    run_sync("user_routing")
    code, out = look(capsys, MAIL, "--live")
    assert code == 0
    assert "the same as in the cache" in out
    assert len(look_json(capsys, MAIL, "--live")[1]["live"]["routes"]) == 2


def test_what_a_server_did_not_answer_is_unknown(directory: Instance, capsys: Captured) -> None:
    run_sync("user_routing")
    RdsInstance.objects.filter(pk=2).update(is_active=False)
    with pytest.raises(SystemExit, match="3"):
        call_command("find_user", MAIL, "--live")
    out, err = capsys.readouterr()
    assert "1 of 2 accounts differs; 1 is unknown." in out
    assert err.startswith("Instance 2 (rds2) can't be queried: it is not active")
    found = look_json(capsys, MAIL, "--live")[1]
    assert found["live"]["accounts"] == {"differs": 1, "unknown": 1, "same": 0}


def test_differences_to_the_master_are_told(directory: Instance, capsys: Captured) -> None:
    run_sync("user_routing")
    directory.execute("UPDATE user_email_routing SET status = 'Blocked' WHERE id = 1")
    directory.execute("DELETE FROM user_email_routing WHERE id = 2")
    directory.add_route(5, "aNN@example.com", 11)
    _, found = look_json(capsys, MAIL, "--live")
    here = "row 1, tenant 7 on instance 1 (rds1)"
    assert found["live"]["differences"] == [
        f"{here}: status is Active in the cache and Blocked on the master",
        "row 2, tenant 8 on instance 2 (rds2) is in the cache only",
        "row 5, tenant 11 on instance 1 (rds1) is on the master only",
    ]


def test_what_only_the_master_knows_is_found(directory: Instance, capsys: Captured) -> None:
    code, out = look(capsys, MAIL, "--live")
    assert code == 0
    assert "row 1, tenant 7 on instance 1 (rds1) is on the master only" in out


def test_the_master_finds_every_unicode_form(master: Instance, capsys: Captured) -> None:
    master.add_route(1, unicodedata.normalize("NFD", "JOSé@example.com"))
    assert look(capsys, "josé@example.com", "--live")[0] == 0


def test_a_master_that_is_down_leaves_what_the_cache_knows(
    directory: Instance, capsys: Captured
) -> None:
    run_sync("user_routing")
    directory.server.stop()
    with pytest.raises(SystemExit, match="3"):
        call_command("find_user", MAIL, "--live")
    out, err = capsys.readouterr()
    assert "2 accounts" in out
    assert err.startswith("The master can't be queried: instance 1 (rds1)")
    assert directory.rainbo_password not in out + err


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_master_in_another_encoding_answers(
    extra_instance: Any, transactional_db: None, capsys: Captured, encoding: str
) -> None:
    old = extra_instance(4, master=True, encoding=encoding)
    register(old)
    old.add_route(1, "josé@example.com")
    assert look(capsys, "JOSé@example.com", "--live")[0] == 0
    assert look(capsys, "Ω@example.com", "--live")[0] == 1


@pytest.mark.parametrize(
    "email", ["", "a\0b@example.com", "a\nb@example.com", "\udcff@example.com"]
)
def test_what_can_be_no_email_is_refused(transactional_db: None, email: str) -> None:
    with pytest.raises(CommandError, match="give an e-mail") as error:
        call_command("find_user", email)
    assert error.value.returncode == 2


def test_look_ups_use_the_index(registered: InstanceFleet) -> None:
    registered.master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, user_id) "
        "SELECT n, 'user' || n || '@example.com', 1, n FROM generate_series(1, 20000) AS n"
    )
    run_sync("user_routing")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE user_routes")
    plan = query(f"EXPLAIN {queries._ROUTES}", "user7@example.com")
    assert "routes_by_email" in str(plan)
    assert len(find("USER7@example.com").shown) == 1


def test_names_do_not_steer_the_terminal(master: Instance, capsys: Captured) -> None:
    name = "\x1b[2J\x9b31m\u202eann\nsecond line"
    master.add_tenant(1, "\x1b]0;owned\x07tenant")
    master.add_route(1, MAIL, user_name=name)
    run_sync("tenant_summaries")
    run_sync("user_routing")
    master.execute("UPDATE user_email_routing SET user_name = user_name || 'x'")
    out = look(capsys, MAIL, "--live")[1]
    assert not set("\x1b\x9b\x07\u202e") & set(out)
    assert "“\\u001b[2J\\u009b31m\\u202eann\\u000asecond line”" in out
    assert not set("\x1b\x9b\u202e") & set(look(capsys, MAIL, "--json")[1])
    assert look_json(capsys)[1]["routes"][0]["user_name"] == name


@pytest.mark.parametrize("letter", ["\u212a", "\u037e", "\u1fef"], ids=ascii)
def test_the_master_knows_letters_that_look_like_ascii(
    master: Instance, capsys: Captured, letter: str
) -> None:
    master.add_route(1, f"{letter}e\u0301@example.com")
    run_sync("user_routing")
    code, found = look_json(capsys, f"{letter}e\u0301@example.com", "--live")
    assert (code, len(found["live"]["routes"]), found["live"]["differences"]) == (0, 1, [])


@pytest.fixture
def texts(master: Instance) -> Instance:
    """A directory whose instance ids are texts: in order, as it should be, padded, and empty."""
    master.execute("ALTER TABLE user_email_routing ALTER rds_instance_id TYPE text")
    master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, rds_instance_id, user_id) VALUES "
        "(1, 'ann@example.com', 7, '2', 1), (2, 'ann@example.com', 7, '02', 2), "
        "(3, 'ann@example.com', 7, '2 ', 3), (4, 'bob@example.com', 7, '', 4)"
    )
    Tenant.objects.create(
        instance_id=2, remote_id="7", name="Acme", status="trial", cache_refreshed_at=timezone.now()
    )
    run_sync("user_routing")
    return master


def test_an_instance_id_counts_only_as_it_is_written(texts: Instance, capsys: Captured) -> None:
    tenant = Tenant.objects.get().pk
    shown = query(
        "SELECT remote_user_id, rds_instance_id, tenant_master_id FROM user_email_routing_cache "
        "WHERE email = %s ORDER BY 1",
        MAIL,
    )
    assert shown == [("1", 2, tenant), ("2", None, None), ("3", None, None)]
    out = look(capsys)[1]
    assert "instance 2 (rds2), unknown, never checked: tenant 7 “Acme”" in out
    assert "instance 02, not registered: tenant 7 on instance 02, not yet read" in out


def test_an_account_without_an_instance_id_is_told(
    texts: Instance, capsys: Captured, admin_client: Client
) -> None:
    out = look(capsys, "bob@example.com", "--live")[1]
    assert "an instance without id, not registered: tenant 7 on an instance without id" in out
    assert "the same as in the cache" in out
    page = text_of(admin_client.get("/admin/tenants/userroute/?q=bob@example.com"))
    assert "an instance without id, not registered" in page
    assert "tenant 7 on an instance without id, not yet read" in page
    texts.execute("DELETE FROM user_email_routing WHERE id = 4")
    run_sync("user_routing")
    out = look(capsys, "bob@example.com")[1]
    assert "from tenant 7 on an instance without id (run" in out
    assert "UTC: tenant 7 on an instance without id\n" in out


def test_what_came_back_is_told(directory: Instance, capsys: Captured) -> None:
    run_sync("user_routing")
    directory.execute("DELETE FROM user_email_routing WHERE id = 3")
    run_sync("user_routing")
    directory.add_route(3, "bob@example.com", 9)
    run_sync("user_routing")
    assert "tenant 9 on instance 1; it came back\n" in look(capsys, "bob@example.com")[1]


@pytest.mark.django_db
def test_an_email_must_be_given() -> None:
    with pytest.raises(CommandError, match=r"^give an e-mail$"):
        call_command("find_user", " ")
