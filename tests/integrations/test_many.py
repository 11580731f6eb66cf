"""Many connections at once: each is cheap, none waits for another, and no secret gets out."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.core import serializers
from django.db import connection as database
from django.db.models.functions import Now
from django.utils import timezone

from activity.models import Activity
from common import key_rotation
from integrations import fetching, plugin, states
from integrations.due import State
from integrations.models import Connection
from integrations.plugin import OutOfTime
from integrations.publishing import Publisher
from integrations.services.github import GitHub as GitHubPlugin
from localfleet.services.github import GitHub
from localfleet.services.server import Asked, Reply
from syncs.models import Confirmation, RunState, SyncRun, TargetState
from tests.caches import everything, query
from tests.children import until
from tests.integrations.rows import TOKEN, connection, fetch, part, titles

pytestmark = pytest.mark.django_db(transaction=True)


def many(hub: GitHub, count: int) -> list[Connection]:
    return [connection(hub.url, name=f"n{number}") for number in range(count)]


def test_connections_are_read_at_the_same_time(hub: GitHub) -> None:
    rows = many(hub, 8)
    hub.latency = 0.15
    started = time.monotonic()
    run = fetch(*rows)
    took = time.monotonic() - started
    assert run.state == RunState.SUCCEEDED
    one_after_another = 8 * 3 * 0.15
    assert took < one_after_another / 2


def test_nothing_changed_costs_few_statements_and_no_record(
    hub: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each connection: what a run costs by itself is the difference of two sizes."""
    hub.add_repository("home")
    hub.add_issue("one")  # it is read again each time, since GitHub's `since` includes its moment
    rows = many(hub, 15)
    fetch(*rows)
    wait_for_statistics(rows, fetches=1)
    before = query("SELECT xmin::text, xmax::text FROM integrations_externalrecord ORDER BY id")
    statements: list[None] = []
    for name in ("execute", "executemany"):
        monkeypatch.setattr(psycopg.Cursor, name, counting(name, statements))
    costs, known = [], rows_written()
    for count in (5, 15):
        statements.clear()
        assert fetch(*rows[:count]).state == RunState.SUCCEEDED
        costs.append(len(statements))
    after = query("SELECT xmin::text, xmax::text FROM integrations_externalrecord ORDER BY id")
    assert after == before
    assert (costs[1] - costs[0]) / 10 <= 5
    # Taken, succeeded; confirmed; in the run's list as done.
    each = {"integrations_connection": 2, "syncs_confirmation": 1, "syncs_runtarget": 1}
    wanted = {name: 20 * rows for name, rows in each.items()}
    until(lambda: {name: (rows_written() - known)[name] for name in each} == wanted)


def wait_for_statistics(rows: list[Connection], fetches: int) -> None:
    """Sessions report what they wrote when they end, a moment later."""
    until(lambda: rows_written()["syncs_confirmation"] >= fetches * len(rows))


def counting(name: str, found: list[None]) -> Callable[..., Any]:
    usual = getattr(psycopg.Cursor, name)

    def execute(*given: Any, **options: Any) -> Any:
        found.append(None)
        return usual(*given, **options)

    return execute


def rows_written() -> Counter[str]:
    """So far, by table, as PostgreSQL counts them once each session has said so."""
    query("SELECT pg_stat_force_next_flush()")
    found = query(
        "SELECT relname, (n_tup_ins + n_tup_upd + n_tup_del)::int FROM pg_stat_user_tables"
    )
    return Counter(dict(found))


def test_one_that_hangs_delays_no_other(hub: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_repository("home")
    rows = many(hub, 4)
    published: list[int] = []
    usual, answer = Publisher.publish, hub.answer
    monkeypatch.setattr("integrations.source.ONE_REQUEST", 1.0)

    def publish(self: Publisher, one: Any, *given: Any, **options: Any) -> None:
        usual(self, one, *given, **options)
        if options["last"]:
            published.append(one.connection.pk)

    def slow(asked: Asked) -> Reply:
        found = answer(asked)
        if asked.headers["authorization"].endswith("slow"):
            return Reply(200, hub.repositories, drip=0.2)
        return found

    hub.token = TOKEN
    rows[0].set_credentials({"token": "slow"})
    rows[0].save(update_fields=["credentials"])
    monkeypatch.setattr(Publisher, "publish", publish)
    hub.answer = slow  # type: ignore[method-assign]
    run = fetch(*rows)
    assert run.state == RunState.PARTIAL
    assert sorted(published) == [row.pk for row in rows[1:]]
    assert "did not answer completely within 1 s" in part(run, rows[0]).error


def test_one_that_takes_too_long_keeps_what_came_and_goes_on(
    hub: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no failure, as long as something came."""
    assert plugin.LIMIT == 300
    monkeypatch.setattr(fetching, "GATHERS", 0.0)
    monkeypatch.setattr(GitHubPlugin, "limit", 1.0)
    hub.page, hub.latency = 1, 0.1
    for number in range(14):
        hub.add_issue(f"i{number}")
    row = connection(hub.url)
    done = part(fetch(row), row)
    assert done.state == TargetState.SKIPPED, done.error
    assert "goes on at the next look" in done.note
    row.refresh_from_db()
    assert 0 < row.records.count() < 14
    assert (row.attempt, row.last_successful_update_at) == (0, None)
    assert states.judge([row], timezone.now())[row.pk].state is State.DUE
    monkeypatch.setattr(GitHubPlugin, "limit", plugin.LIMIT)
    hub.latency = 0.0
    assert fetch(row).state == RunState.SUCCEEDED
    assert sorted(titles(row, "issue")) == sorted(f"i{number}" for number in range(14))


def test_one_that_takes_too_long_before_anything_came_fails(
    hub: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GitHubPlugin, "limit", 0.3)
    hub.latency = 0.5
    row = connection(hub.url)
    done = part(fetch(row), row)
    assert (done.state, done.error) == (TargetState.FAILED, str(OutOfTime()))
    row.refresh_from_db()
    assert row.attempt == 1


def test_a_run_that_is_cancelled_publishes_nothing_more_and_fails_no_connection(
    hub: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "AT_ONCE", 1)
    hub.add_repository("home")
    rows, usual = many(hub, 3), hub.answer

    def answer(asked: Asked) -> Reply:
        if len(hub.asked) == 6:  # the first one was read with three requests
            until(lambda: rows[0].records.exists())
            SyncRun.objects.update(cancel_requested_at=Now(), cancel_requested_by="ann")
            database.close()
        return usual(asked)

    hub.answer = answer  # type: ignore[method-assign]
    assert fetch(*rows).state == RunState.CANCELLED
    assert [row.records.count() for row in rows] == [1, 0, 0]
    for row in rows[1:]:
        row.refresh_from_db()
        assert row.attempt == 0
        assert states.judge([row], timezone.now())[row.pk].state is State.DUE
    hub.answer = usual  # type: ignore[method-assign]
    assert fetch(*rows).state == RunState.SUCCEEDED


def test_a_success_is_logged_as_information_and_a_failure_as_an_error(
    hub: GitHub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    row = connection(hub.url)
    fetch(row)
    (said,) = [r for r in caplog.records if r.getMessage().startswith(f"{row.label}: read 0")]
    assert said.levelname == "INFO"
    for attempt, ends in ((0, 0), (3, 1)):  # of the last one of its period it is said
        caplog.clear()
        Connection.objects.filter(pk=row.pk).update(attempt=attempt, not_before=None)
        row.refresh_from_db()
        hub.faults = [Reply(500)]
        fetch(row)
        errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
        assert sum("GitHub answered with status 500" in one for one in errors) == 1 + ends
        assert sum("until its next period" in one for one in errors) == ends


def test_one_that_is_connected_again_meanwhile_publishes_nothing(hub: GitHub) -> None:
    hub.add_repository("home")
    row, usual = connection(hub.url), hub.answer

    def answer(asked: Asked) -> Reply:
        try:
            Connection.objects.filter(pk=row.pk).update(generation=2)
        finally:
            database.close()
        return usual(asked)

    hub.answer = answer  # type: ignore[method-assign]
    run = fetch(row)
    assert part(run, row).state == TargetState.FAILED
    assert "connected again, while it was fetched" in part(run, row).error
    row.refresh_from_db()
    assert (row.cursor, row.last_successful_update_at, row.records.count()) == (None, None, 0)
    assert not Confirmation.objects.exists()


def test_a_plugin_that_fails_unexpectedly_fails_its_connection_alone(
    hub: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_repository("home")
    bad, good = many(hub, 2)
    usual = plugin.find("github").fetch_data

    def fetch_data(source: Any, position: Any) -> Any:
        if position == {"bad": True}:
            raise ZeroDivisionError
        return usual(source, position)

    Connection.objects.filter(pk=bad.pk).update(cursor={"bad": True})
    monkeypatch.setattr(plugin.find("github"), "fetch_data", fetch_data, raising=False)
    run = fetch(bad, good)
    assert part(run, bad).state == TargetState.FAILED
    assert "ZeroDivisionError" in part(run, bad).error
    assert titles(good, "repository") == ["ann/home"]


def test_a_record_that_cannot_be_stored_is_withheld_alone(hub: GitHub) -> None:
    hub.add_issue("a NUL \0 in it")
    hub.add_issue("half of a pair \ud800")
    hub.add_issue("a plain backslash \\u0000 is fine")
    row = connection(hub.url)
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED, part(run, row).error
    assert part(run, row).withheld == 2
    assert titles(row, "issue") == ["a plain backslash \\u0000 is fine"]
    reasons = query("SELECT reason FROM syncs_withheldrow ORDER BY reason")
    assert [reason for (reason,) in reasons] == [
        "it has a NUL character, which PostgreSQL can't store",
        "it has a character that is no valid Unicode",
    ]


def test_a_confirmation_is_of_the_time_when_reading_began(hub: GitHub) -> None:
    row = connection(hub.url)
    hub.latency = 0.1
    fetch(row)
    row.refresh_from_db()
    confirmed = Confirmation.objects.get(sync="github", target=row.key)
    assert row.last_successful_update_at is not None
    assert (row.last_successful_update_at - confirmed.at).total_seconds() > 0.25


def test_no_token_gets_out(hub: GitHub, caplog: pytest.LogCaptureFixture) -> None:
    """Into logs, errors, runs, exports, the activity: whatever the service answers."""
    caplog.set_level(logging.DEBUG)
    hub.add_repository("home")
    row = connection(hub.url)
    runs = []
    for fault in (
        None,
        Reply(500, TOKEN),
        Reply(401, {"message": f"bad token {TOKEN}"}),
        Reply(403, {"message": f"Bearer {TOKEN}"}),
        Reply(200, f"no JSON {TOKEN}"),
        Reply(200, [{"id": TOKEN}]),
    ):
        hub.faults = [fault] if fault else []
        Connection.objects.update(reconnect_since=None, not_before=None, cursor=None)
        runs.append(fetch(row))
    row.refresh_from_db()
    dumped = serializers.serialize("json", [*Connection.objects.all(), *Activity.objects.all()])
    said = "\n".join([*map(everything, runs), caplog.text, dumped, row.last_error, repr(row)])
    assert len({run.state for run in runs}) > 1
    assert TOKEN not in said


def test_credentials_are_encrypted_again_with_the_newest_key(settings: Any) -> None:
    from cryptography.fernet import Fernet

    row = connection()
    former = row.credentials.token
    settings.RAINBO_CREDENTIAL_KEYS = [
        Fernet.generate_key().decode(),
        *settings.RAINBO_CREDENTIAL_KEYS,
    ]
    assert key_rotation.rotate_all().renewed >= 1
    settings.RAINBO_CREDENTIAL_KEYS = settings.RAINBO_CREDENTIAL_KEYS[:1]
    row.refresh_from_db()
    assert row.credentials.token != former
    assert row.reveal_credentials() == {"token": TOKEN}
