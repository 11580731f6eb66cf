"""The commands of connected services."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from activity.models import Activity
from common.errors import UsageError
from integrations.models import Connection
from localfleet.services.github import GitHub
from localfleet.services.server import Reply
from syncs.models import RunState, SyncRun, TargetState
from tests.integrations.rows import TOKEN, connection, fetch, titles
from tests.rows import staff

pytestmark = pytest.mark.django_db(transaction=True)


def code(name: str, *args: str) -> int:
    try:
        call_command(name, *args)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return str(path)


def test_fetch_takes_what_is_not_fresh(hub: GitHub, capsys: Any) -> None:
    hub.add_repository("home")
    old = connection(hub.url)
    fresh = connection(hub.url, name="fresh", last_successful_update_at=timezone.now())
    assert code("integrations_fetch") == 0
    assert (titles(old, "repository"), titles(fresh, "repository")) == (["ann/home"], [])
    assert code("integrations_fetch", "--force") == 0
    assert titles(fresh, "repository") == ["ann/home"]


def test_fetch_of_named_connections_and_what_failed(hub: GitHub) -> None:
    hub.add_repository("home")
    named, other = connection(hub.url), connection(hub.url, name="other")
    hub.faults = [Reply(500)]
    assert code("integrations_fetch", "--connection", str(named.pk)) == 1
    run = SyncRun.objects.get()
    assert code("integrations_fetch", "--failed-from", str(run.pk)) == 0
    assert (titles(named, "repository"), titles(other, "repository")) == (["ann/home"], [])


def test_the_command_that_retries_is_one_that_works(hub: GitHub, capsys: Any) -> None:
    row = connection(hub.url)
    hub.faults = [Reply(500)]
    assert code("integrations_fetch", "--service", "github", "--connection", row.key) == 1
    said = capsys.readouterr()
    words = (said.out + said.err).partition("python manage.py ")[2].split()
    assert words[:4] == ["integrations_fetch", "--service", "github", "--failed-from"]
    assert code(words[0], *words[1:]) == 0


@pytest.mark.parametrize("arguments", [("--service", "nowhere"), ("--connection", "x"), ()])
def test_fetch_of_nothing_is_a_wrong_use(arguments: tuple[str, ...]) -> None:
    assert code("integrations_fetch", *arguments) == 2


def test_check_says_who_is_due_and_why_others_are_not(capsys: Any) -> None:
    connection()
    connection(name="fresh", last_successful_update_at=timezone.now())
    connection(name="broken", reconnect_since=timezone.now(), last_error="rejected")
    call_command("integrations_check")
    said = capsys.readouterr().out.splitlines()
    assert "due; it was never fetched; due now" in said[0]
    assert "connected; it is fetched every 15 min; next at" in said[1]
    assert "needs to be connected again; " in said[2]
    assert said[3].startswith("3 connections, 1 due; connected: 1; due: 1;")


def test_check_as_json_has_no_secret(capsys: Any) -> None:
    connection()
    call_command("integrations_check", "--json")
    said = capsys.readouterr().out
    (found,) = json.loads(said)["connections"]
    assert (found["state"], found["due"], found["records"]) == ("due", True, 0)
    assert TOKEN not in said


def test_add_connects_by_a_token_that_no_argument_has(token_file: str, capsys: Any) -> None:
    staff("bob")
    call_command("integrations_add", "github", "work", owner="bob", token_file=token_file)
    row = Connection.objects.get()
    assert (row.name, row.base_url, row.update_frequency_minutes) == (
        "work",
        "https://api.github.com",
        15,
    )
    assert row.reveal_credentials() == {"token": TOKEN}
    entry = Activity.objects.get(action="connection.added")
    assert TOKEN not in f"{entry.before}{entry.after}{capsys.readouterr().out}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"service": "nowhere"},
        {"owner": "nobody"},
        {"address": "http://api.example.com"},
        {"address": "https://u:p@api.example.com"},
        {"frequency": 0.5},
    ],
)
def test_add_rejects_what_is_invalid(token_file: str, wrong: dict[str, Any]) -> None:
    staff("bob")
    known = {"owner": "bob", "token_file": token_file} | wrong
    service = known.pop("service", "github")
    if known.pop("frequency", None):
        known["frequency"] = 60 * 24 * 8
    with pytest.raises(UsageError):
        call_command("integrations_add", service, "work", **known)
    assert not Connection.objects.exists()


def test_a_token_for_one_host_is_never_sent_to_another() -> None:
    row = connection()
    row.base_url = "https://elsewhere.example"
    row.save()
    run = fetch(row)
    row.refresh_from_db()
    assert run.state == RunState.FAILED
    assert row.reconnect_since is not None


def test_reconnect_brings_a_new_token(hub: GitHub, token_file: str) -> None:
    row = connection(hub.url, token="revoked")
    fetch(row)
    call_command("integration_reconnect", str(row.pk), token_file=token_file)
    row.refresh_from_db()
    assert (row.reconnect_since, row.last_error) == (None, "")
    assert fetch(row).state == RunState.SUCCEEDED


def test_what_was_read_with_former_credentials_is_not_published(hub: GitHub) -> None:
    hub.add_repository("home")
    row = connection(hub.url)
    usual = hub.answer

    def answer(asked: Any) -> Reply:
        Connection.objects.filter(pk=row.pk).update(generation=row.generation + 1)
        from django.db import connection as database

        database.close()
        return usual(asked)

    hub.answer = answer  # type: ignore[method-assign]
    run = fetch(row)
    assert run.targets.get().state == TargetState.FAILED
    assert not titles(row, "repository")


def test_failed_ones_are_listed_retried_and_forgotten(hub: GitHub, capsys: Any) -> None:
    row = connection(hub.url)
    hub.faults = [Reply(500)]
    fetch(row)
    call_command("queue_failed")
    said = capsys.readouterr().out
    assert "retry 1 of 3 follows at" in said
    assert "1 connection failed." in said
    call_command("queue_retry", "all")
    row.refresh_from_db()
    assert (row.not_before, row.attempt) == (None, 1)
    call_command("queue_flush")
    row.refresh_from_db()
    assert (row.attempt, row.last_error) == (0, "")
    call_command("queue_failed")
    assert "0 connections failed." in capsys.readouterr().out


def test_one_that_needs_a_person_is_not_retried() -> None:
    row = connection(reconnect_since=timezone.now() - timedelta(hours=1))
    with pytest.raises(UsageError, match="needs to be connected again"):
        call_command("queue_retry", str(row.pk))
