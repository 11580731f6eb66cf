"""Slack, against a server with its errors, short pages and limits for each method."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from integrations.limits import SharedLimits
from integrations.models import Connection
from integrations.plugin import Broken, Later, OutOfTime
from localfleet.services.server import Asked, Reply, running
from localfleet.services.slack import Slack
from syncs.models import Confirmation, RunState, SyncRun, TargetState
from tests.integrations.oauth import at_server, granted
from tests.integrations.rows import connection, fetch, part, stored, titles

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def workspace(loopback: None) -> Iterator[Slack]:
    with running(Slack()) as found:
        assert isinstance(found, Slack)
        yield found


def connected(workspace: Slack, **fields: Any) -> Connection:
    return connection(
        workspace.url, **{"service": "slack", "token": workspace.token, "name": "mine"} | fields
    )


def posted(workspace: Slack, count: int, name: str = "general") -> dict[str, Any]:
    channel = workspace.add_channel(name)
    for number in range(count):
        workspace.post(channel, f"{name} {number}")
    return channel


def again(row: Connection) -> None:
    """As if the wait was over."""
    Connection.objects.filter(pk=row.pk).update(not_before=None)


def test_channels_and_messages_are_read_in_short_pages(workspace: Slack) -> None:
    workspace.page = 15
    general = posted(workspace, 40)
    workspace.post(workspace.add_channel("secret", private=True), "hush")
    workspace.add_channel("others", member=False)
    row = connected(workspace)
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED, part(run, row).error
    assert sorted(titles(row, "channel")) == ["#general", "#others", "#secret"]
    assert sorted(titles(row, "message")) == sorted(
        ["hush", *(f"general {number}" for number in range(40))]
    )
    message = workspace.messages[general["id"]][0]
    record = row.records.get(external_id=f"{general['id']}/{message['ts']}")
    assert record.link == (
        f"https://acme-t1.slack.com/archives/{general['id']}/p{message['ts'].replace('.', '')}"
    )


def test_an_id_that_looks_like_a_number_keeps_its_digits(workspace: Slack) -> None:
    channel = workspace.add_channel("general")
    whole = int(workspace.clock.timestamp())
    for rest in ("000100", "000101", "123456"):
        workspace.messages[channel["id"]].append(
            {"type": "message", "text": rest, "ts": f"{whole}.{rest}"}
        )
    row = connected(workspace)
    fetch(row)
    records = row.records.filter(kind="message").order_by("occurred_at")
    assert [one.external_id.partition(".")[2] for one in records] == ["000100", "000101", "123456"]
    last = records[2].occurred_at
    assert last == datetime.fromtimestamp(whole, UTC) + timedelta(microseconds=123456)


def test_edits_and_deletions_within_the_window_are_found(workspace: Slack) -> None:
    channel = posted(workspace, 4)
    messages = workspace.messages[channel["id"]]
    row = connected(workspace)
    fetch(row)
    workspace.edit(messages[1], "edited")
    workspace.delete(channel, messages[2])
    workspace.post(channel, "new")
    done = part(fetch(row), row)
    assert (done.added, done.changed, done.removed) == (1, 1, 1)
    assert sorted(titles(row, "message")) == ["edited", "general 0", "general 3", "new"]


def test_what_is_older_than_the_window_stays_as_it_was_read(workspace: Slack) -> None:
    channel = posted(workspace, 2)
    old = {"type": "message", "text": "old", "ts": f"{int(time.time()) - 90_000}.000100"}
    workspace.messages[channel["id"]].insert(0, old)
    row = connected(workspace)
    fetch(row)
    assert titles(row, "message") == ["general 1", "general 0"]
    row.refresh_from_db()
    assert row.cursor is not None
    later = (timezone.now() + timedelta(hours=30)).isoformat()
    row.cursor["channels"][channel["id"]]["until"] = later
    Connection.objects.filter(pk=row.pk).update(cursor=row.cursor)
    workspace.messages[channel["id"]].clear()
    done = part(fetch(row), row)
    assert (done.state, done.removed) == (TargetState.SUCCEEDED, 0)
    assert len(titles(row, "message")) == 2


def test_a_gap_is_read_from_a_window_before_it(workspace: Slack) -> None:
    channel = posted(workspace, 1)
    row = connected(workspace)
    fetch(row)
    row.refresh_from_db()
    assert row.cursor is not None
    row.cursor["channels"][channel["id"]]["until"] = "2026-01-05T00:00:00+00:00"
    Connection.objects.filter(pk=row.pk).update(cursor=row.cursor)
    for day in (3, 4):
        at = int(datetime(2026, 1, day, 12, tzinfo=UTC).timestamp())
        message = {"type": "message", "text": f"day {day}", "ts": f"{at}.000100"}
        workspace.messages[channel["id"]].insert(0, message)
    fetch(row)
    assert titles(row, "message") == ["general 0", "day 4"]


def test_with_fifteen_a_minute_each_run_goes_on_where_the_last_one_was(workspace: Slack) -> None:
    workspace.page, workspace.rates = 15, {"conversations.history": 1}
    posted(workspace, 40, "a")
    posted(workspace, 20, "b")
    row = connected(workspace)
    counts, began = [], timezone.now()
    for _ in range(10):
        again(row)
        run = fetch(row)
        counts.append(len(titles(row, "message")))
        if part(run, row).state == TargetState.SUCCEEDED:
            break
        row.refresh_from_db()
        assert row.not_before is not None
        assert row.not_before > timezone.now() + timedelta(seconds=40)
        workspace.pass_time(60)
    assert counts == [15, 30, 40, 55, 60]
    first, last = SyncRun.objects.order_by("pk")[:5:4]
    assert first.finished_at is not None
    assert last.started_at is not None
    confirmed = Confirmation.objects.get(sync="slack", target=row.key).at
    assert began < confirmed < first.finished_at < last.started_at, "as old as its oldest part"
    assert row.attempt == 0
    again(row)
    assert part(fetch(row, force=True), row).added == 0


def test_the_channel_that_has_waited_longest_comes_first(workspace: Slack) -> None:
    first, second = posted(workspace, 1, "a"), posted(workspace, 1, "b")
    row = connected(workspace)
    fetch(row)
    workspace.rates = {"conversations.history": 1}
    row.refresh_from_db()
    assert row.cursor is not None
    earlier = (timezone.now() - timedelta(hours=1)).isoformat()
    row.cursor["channels"][second["id"]]["until"] = earlier
    Connection.objects.filter(pk=row.pk).update(cursor=row.cursor)
    workspace.asked.clear()
    fetch(row)
    asked = [one.parameters["channel"] for one in workspace.asked if "channel" in one.parameters]
    assert asked == [second["id"], first["id"]]


@pytest.mark.parametrize(
    "name", ["invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive"]
)
def test_a_token_that_is_rejected_needs_a_person(workspace: Slack, name: str) -> None:
    row = connected(workspace)
    workspace.faults = [Reply(200, {"ok": False, "error": name})]
    fetch(row)
    row.refresh_from_db()
    assert row.reconnect_since is not None
    assert name in row.last_error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"ok": False, "error": "missing_scope", "needed": "channels:read"}, "channels:read"),
        ({"ok": False, "error": "missing_scope", "needed": "<b>"}, "no permission"),
        ({"ok": False, "error": "internal_error"}, "internal_error"),
        ({"ok": False, "error": "<script>" * 20}, "unknown name"),
        ({"ok": False}, "unnamed"),
        ({"error": "x"}, "did not answer as Slack does"),
        ([], "did not answer as Slack does"),
        ("<html>", "did not answer as Slack does"),
        ({"ok": True}, "can't read"),
    ],
)
def test_an_error_fails_and_says_what_to_do(workspace: Slack, body: Any, words: str) -> None:
    posted(workspace, 1)
    row = connected(workspace)
    fetch(row)
    before = stored(row)
    workspace.faults = [Reply(200, body)]
    done = part(fetch(row), row)
    assert done.state == TargetState.FAILED
    assert words in done.error
    assert stored(row) == before


@pytest.mark.parametrize(
    ("reply", "least"),
    [
        (Reply(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "90"}), 90),
        (Reply(429, "slow down"), 60),
        (Reply(200, {"ok": False, "error": "ratelimited"}), 60),
        (Reply(503, "oops", {"Retry-After": "120"}), 120),
    ],
)
def test_being_asked_to_wait_is_no_failure(workspace: Slack, reply: Reply, least: int) -> None:
    row = connected(workspace)
    workspace.faults = [reply]
    done = part(fetch(row), row)
    row.refresh_from_db()
    assert (done.state, row.attempt) == (TargetState.SKIPPED, 0)
    assert row.not_before is not None
    assert abs(row.not_before - timezone.now() - timedelta(seconds=least)) < timedelta(seconds=15)


def test_a_channel_that_the_app_was_removed_from_keeps_no_other_waiting(workspace: Slack) -> None:
    posted(workspace, 1, "a")
    posted(workspace, 1, "b")
    row = connected(workspace)
    workspace.faults = [
        workspace.answer(asked("/auth.test", workspace)),
        workspace.answer(asked("/conversations.list", workspace)),
        Reply(200, {"ok": False, "error": "not_in_channel"}),
    ]
    done = part(fetch(row), row)
    assert done.state == TargetState.SUCCEEDED
    assert done.note == "#a: the app is not in this channel: invite it there"
    assert titles(row, "message") == ["b 0"]


def asked(path: str, workspace: Slack) -> Asked:
    return Asked(path, {}, {"authorization": f"Bearer {workspace.token}"})


def test_a_channel_that_is_gone_takes_all_its_messages_along(workspace: Slack) -> None:
    posted(workspace, 2, "a")
    other = posted(workspace, 2, "b")
    row = connected(workspace)
    fetch(row)
    workspace.remove_channel(other)
    assert part(fetch(row), row).removed == 3
    assert (titles(row, "channel"), titles(row, "message")) == (["#a"], ["a 1", "a 0"])


def test_a_place_that_slack_no_longer_knows_begins_again(workspace: Slack) -> None:
    workspace.page, workspace.rates = 1, {"conversations.history": 1}
    posted(workspace, 3)
    row = connected(workspace)
    fetch(row)
    workspace.rates = {}
    again(row)
    workspace.faults = [
        workspace.answer(asked("/auth.test", workspace)),
        workspace.answer(asked("/conversations.list", workspace)),
        Reply(200, {"ok": False, "error": "invalid_cursor"}),
    ]
    assert fetch(row).state == RunState.SUCCEEDED
    assert len(titles(row, "message")) == 3


def test_has_more_without_a_cursor_is_an_incomplete_reading(workspace: Slack) -> None:
    posted(workspace, 1)
    row = connected(workspace)
    fetch(row)
    before = stored(row)
    workspace.faults = [
        workspace.answer(asked("/auth.test", workspace)),
        workspace.answer(asked("/conversations.list", workspace)),
        Reply(200, {"ok": True, "messages": [], "has_more": True}),
    ]
    done = part(fetch(row), row)
    assert (done.state, stored(row)) == (TargetState.FAILED, before)
    assert "incomplete" in done.error


def test_a_token_of_another_workspace_changes_nothing(workspace: Slack) -> None:
    posted(workspace, 1)
    row = connected(workspace)
    fetch(row)
    before = stored(row)
    workspace.team = "T2"
    fetch(row)
    row.refresh_from_db()
    assert (row.reconnect_since is not None, stored(row)) == (True, before)
    assert "another workspace" in row.last_error


def test_private_channels_are_asked_for_only_with_their_scope(workspace: Slack) -> None:
    posted(workspace, 1)
    workspace.add_channel("secret", private=True)
    workspace.scopes = ("channels:read", "channels:history")
    row = connected(workspace)
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED, part(run, row).error
    assert titles(row, "channel") == ["#general"]
    workspace.scopes = ("channels:read",)
    done = part(fetch(row), row)
    assert "add the scope channels:history" in done.error


def test_connections_of_one_workspace_wait_together(workspace: Slack) -> None:
    posted(workspace, 1)
    workspace.rates = {"conversations.history": 2}
    rows = [connected(workspace, name=f"n{number}") for number in range(5)]
    run = fetch(*rows)
    states = sorted(part(run, row).state for row in rows)
    assert states == [TargetState.SKIPPED] * 3 + [TargetState.SUCCEEDED] * 2
    history = [one for one in workspace.asked if "channel" in one.parameters]
    assert len(history) == 3, "after the first that has to wait, none asks"


def test_of_those_that_share_a_limit_one_asks_at_a_time() -> None:
    limits, at_once, most = SharedLimits(), 0, 0

    def ask() -> None:
        nonlocal at_once, most
        with limits.turn("T1 m", 5):
            at_once += 1
            most = max(most, at_once)
            time.sleep(0.01)
            at_once -= 1

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    with (
        limits.turn("T1 m", 1),
        limits.turn("T2 m", 1),
        pytest.raises(OutOfTime),
        limits.turn("T1 m", 0.01),
    ):
        raise AssertionError("it has no turn")
    with pytest.raises(Broken), limits.turn("T1 m", 1):
        raise Broken("no limit")
    with pytest.raises(Later), limits.turn("T1 m", 1):
        raise Later(30)
    with pytest.raises(Later) as raised, limits.turn("T1 m", 1):
        raise AssertionError("it has no turn")
    assert 29 < raised.value.seconds <= 30


def test_tokens_that_rotate_are_renewed(workspace: Slack) -> None:
    posted(workspace, 1)
    workspace.apps.lives = 43_200
    with at_server("slack", workspace):
        pair = workspace.apps.grant("client-1", ("channels:read", "channels:history"))
        row = granted("slack", f"{workspace.url}/api", pair)
        workspace.pass_time(43_200)  # Slack says so with status 200
        assert fetch(row).state == RunState.SUCCEEDED
        assert titles(row, "message") == ["general 0"]
        workspace.pass_time(43_200)
        workspace.apps.loses_answers = 1
        assert fetch(row).state == RunState.FAILED
        row.refresh_from_db()
        assert row.reconnect_since is None, "Slack may have kept the former pair"
        fetch(row)
        row.refresh_from_db()
        assert row.reconnect_since is not None
