"""Notion, against a server whose cursors move with what they name, with times of minutes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from integrations.models import Connection
from localfleet.services.notion import Notion
from localfleet.services.server import Asked, Reply, running
from syncs.models import RunState, TargetState
from tests.integrations.oauth import at_server, granted
from tests.integrations.rows import connection, fetch, part, stored, titles

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def workspace(loopback: None) -> Iterator[Notion]:
    with running(Notion()) as found:
        assert isinstance(found, Notion)
        yield found


def connected(workspace: Notion) -> Connection:
    return connection(workspace.url, service="notion", token=workspace.token)


def filled(workspace: Notion, pages: int = 5) -> list[dict[str, Any]]:
    return [workspace.add_page(f"p{number}") for number in range(pages)]


def cursor(row: Connection) -> dict[str, Any]:
    row.refresh_from_db()
    return dict(row.cursor or {})


def a_day_later(row: Connection) -> None:
    long_ago = (timezone.now() - timedelta(hours=25)).isoformat()
    at = cursor(row) | {"full_at": long_ago, "tried_at": long_ago}
    Connection.objects.filter(pk=row.pk).update(cursor=at, not_before=None)


def test_pages_and_data_sources_are_read_over_several_pages(workspace: Notion) -> None:
    workspace.page = 2
    tasks = workspace.add_data_source("Tasks")
    filled(workspace)
    hidden = workspace.add_page("not in the search", tasks)
    workspace.left_out = {hidden["id"]}
    row = connected(workspace)
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED, part(run, row).error
    assert titles(row, "data_source") == ["Tasks"]
    assert sorted(titles(row, "page")) == ["not in the search", "p0", "p1", "p2", "p3", "p4"]
    record = row.records.get(title="not in the search")
    assert (record.body["parent_type"], record.body["parent"]) == ("data_source_id", tasks["id"])
    assert record.link == hidden["url"]
    assert {asked.headers["notion-version"] for asked in workspace.asked} == {"2025-09-03"}


def test_two_changes_within_a_minute_are_both_found(workspace: Notion) -> None:
    first, second, *_ = filled(workspace)
    row = connected(workspace)
    fetch(row)
    workspace.edit(first, "first")
    fetch(row)
    workspace.edit(second, "second")
    assert second["last_edited_time"] == first["last_edited_time"]
    workspace.asked.clear()
    done = part(fetch(row), row)
    assert (done.added, done.changed) == (0, 1)
    assert len(workspace.asked) == 2, "one for data sources, one back to the last reading"
    change = row.records.get(title="second").changes.get()
    assert (change.field, change.old, change.new) == ("title", "p1", "second")


def test_what_the_search_finds_late_is_not_missed(workspace: Notion) -> None:
    late = workspace.add_page("late")
    workspace.left_out = {late["id"]}
    filled(workspace, 12)
    assert late["last_edited_time"] < workspace.pages[-1]["last_edited_time"]
    row = connected(workspace)
    fetch(row)
    workspace.left_out = set()
    assert part(fetch(row), row).added == 1


def test_what_was_trashed_is_gone_after_the_daily_listing(workspace: Notion) -> None:
    rows = filled(workspace)
    row = connected(workspace)
    fetch(row)
    workspace.trash(rows[1])
    fetch(row)
    assert "p1" in titles(row, "page"), "nothing says so"
    a_day_later(row)
    assert part(fetch(row), row).removed == 1
    assert "p1" not in titles(row, "page")


@pytest.mark.parametrize("sign", [{"archived": True, "in_trash": False}, {"in_trash": True}])
def test_what_is_listed_as_trashed_is_gone(workspace: Notion, sign: dict[str, bool]) -> None:
    rows = filled(workspace)
    row = connected(workspace)
    fetch(row)
    usual = workspace.answer

    def answer(asked: Asked) -> Reply:
        reply = usual(asked)
        for one in reply.body["results"]:
            if one["id"] == rows[4]["id"]:
                one.pop("archived")
                one.pop("in_trash")
                one.update(sign)
        return reply

    workspace.answer = answer  # type: ignore[method-assign]
    assert part(fetch(row), row).removed == 1
    assert titles(row, "page") == ["p0", "p1", "p2", "p3"]


def test_a_change_while_pages_are_listed_takes_nothing_from_readers(workspace: Notion) -> None:
    """The page that the next one begins with moves to the end: those after it are passed over."""
    workspace.page = 2
    rows = {one["id"]: one for one in filled(workspace, 7)}
    workspace.clock += timedelta(hours=1)
    workspace.add_page("the latest change, which alone is read again")
    row = connected(workspace)
    fetch(row)
    a_day_later(row)
    usual, edits = workspace.answer, iter(["moved"])

    def answer(asked: Asked) -> Reply:
        reply = usual(asked)
        sent: dict[str, Any] = dict(asked.form)
        is_listing = sent["sort"]["direction"] == "ascending"
        if is_listing and sent["filter"]["value"] == "page" and (title := next(edits, None)):
            workspace.edit(rows[reply.body["next_cursor"]], title)
        return reply

    workspace.answer = answer  # type: ignore[method-assign]
    run = fetch(row)
    assert (part(run, row).state, part(run, row).removed) == (TargetState.SUCCEEDED, 0)
    assert len(titles(row, "page")) == 8
    assert next(edits, None) is None
    a_day_later(row)
    workspace.trash(workspace.pages[6])
    assert part(fetch(row), row).removed == 1, "the next listing is whole"


@pytest.mark.parametrize(
    "listing",
    [
        {"results": [], "has_more": True, "next_cursor": None},
        {"results": [], "has_more": True},
        {"results": None, "has_more": False},
        [],
    ],
)
def test_an_incomplete_listing_fails_and_removes_nothing(workspace: Notion, listing: Any) -> None:
    filled(workspace)
    row = connected(workspace)
    fetch(row)
    before = stored(row)
    a_day_later(row)
    workspace.faults = [Reply(200, listing)]
    assert part(fetch(row), row).state == TargetState.FAILED
    assert stored(row) == before


def test_a_listing_that_goes_in_a_circle_ends(workspace: Notion) -> None:
    first, *_ = filled(workspace)
    row = connected(workspace)
    again = {"results": [], "has_more": True, "next_cursor": first["id"]}
    workspace.faults = [Reply(200, {"results": [], "has_more": False})] + [Reply(200, again)] * 3
    assert part(fetch(row), row).state == TargetState.FAILED
    assert len(workspace.faults) == 1


@pytest.mark.parametrize(
    ("reply", "least", "why"),
    [
        (Reply(429, {}, {"Retry-After": "20"}), 20, "asked to wait"),
        (Reply(529, {"code": "service_overload"}, {"Retry-After": "90"}), 90, "asked to wait"),
        (Reply(429, {}), 60, "asked to wait"),
        (
            Reply(429, {"additional_data": {"rate_limit_reason": "workspace_limit"}}),
            60,
            "(workspace_limit)",
        ),
        (Reply(503, {}, {"Retry-After": "30"}), 30, "asked to wait"),
    ],
)
def test_being_asked_to_wait_is_no_failure(
    workspace: Notion, reply: Reply, least: int, why: str
) -> None:
    row = connected(workspace)
    workspace.faults = [reply]
    done = part(fetch(row), row)
    row.refresh_from_db()
    assert (done.state, row.attempt) == (TargetState.SKIPPED, 0)
    assert why in done.note
    assert row.not_before is not None
    assert abs(row.not_before - timezone.now() - timedelta(seconds=least)) < timedelta(seconds=15)


def error(status: int, code: str) -> Reply:
    return Reply(status, {"object": "error", "status": status, "code": code, "message": "…"})


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error(403, "restricted_resource"), "may not read content"),
        (error(404, "object_not_found"), "not shared with the integration"),
        (error(409, "conflict_error"), "409"),
        (error(500, "internal_server_error"), "500"),
        (error(504, "gateway_timeout"), "504"),
        (Reply(200, "<html>Sign in</html>"), "no JSON"),
        (Reply(200, {"object": "list", "results": [], "has_more": False}, half=True), "closed"),
        (Reply(200, {"object": "list", "results": []}, drip=0.05), "within"),
    ],
)
def test_a_bad_answer_fails_and_says_what_to_do(
    workspace: Notion, monkeypatch: pytest.MonkeyPatch, reply: Reply, words: str
) -> None:
    monkeypatch.setattr("integrations.source.ONE_REQUEST", 0.7)
    filled(workspace)
    row = connected(workspace)
    workspace.faults = [reply]
    done = part(fetch(row), row)
    assert done.state == TargetState.FAILED
    assert words in done.error
    assert "notion-token" not in done.error


def test_a_token_that_is_rejected_needs_a_person(workspace: Notion) -> None:
    row = connection(workspace.url, service="notion", token="revoked")
    fetch(row)
    row.refresh_from_db()
    assert row.reconnect_since is not None


def test_a_data_source_that_cannot_be_read_keeps_all(workspace: Notion) -> None:
    tasks = workspace.add_data_source("Tasks")
    rows = [*filled(workspace), workspace.add_page("a task", tasks)]
    row = connected(workspace)
    fetch(row)
    workspace.unshared = {tasks["id"]}
    workspace.left_out = {rows[-1]["id"]}
    a_day_later(row)
    done = part(fetch(row), row)
    assert (done.state, done.removed) == (TargetState.SUCCEEDED, 0)
    assert "the data source 'Tasks' can't be read" in done.note


def test_a_first_reading_goes_on_where_it_was_left(workspace: Notion) -> None:
    workspace.page = 1
    filled(workspace, 6)
    row = connected(workspace)
    counts: list[int] = []
    while not cursor(row).get("since"):
        workspace.remaining = 3 if counts else 6
        Connection.objects.filter(pk=row.pk).update(not_before=None)
        fetch(row)
        counts.append(len(titles(row, "page")))
    assert counts == [3, 5, 6]
    assert "full_at" not in cursor(row)
    workspace.remaining = None
    Connection.objects.filter(pk=row.pk).update(not_before=None)
    fetch(row)
    assert "full_at" in cursor(row), "then all are listed once"


def test_a_place_that_notion_no_longer_knows_begins_again(workspace: Notion) -> None:
    workspace.page = 1
    rows = filled(workspace)
    row = connected(workspace)
    workspace.remaining = 7
    fetch(row)
    left = cursor(row)["left"]
    workspace.trash(next(one for one in rows if one["id"] == left))
    workspace.remaining = None
    Connection.objects.filter(pk=row.pk).update(not_before=None)
    assert fetch(row).state == RunState.SUCCEEDED
    assert len(titles(row, "page")) == 4


def test_a_listing_that_is_stopped_keeps_no_reading_from_ending(workspace: Notion) -> None:
    workspace.page = 1
    filled(workspace, 6)
    row = connected(workspace)
    fetch(row)
    a_day_later(row)
    workspace.remaining = 9
    assert part(fetch(row), row).state == TargetState.SKIPPED
    workspace.remaining = 30
    Connection.objects.filter(pk=row.pk).update(not_before=None)
    workspace.asked.clear()
    assert fetch(row).state == RunState.SUCCEEDED
    assert len(workspace.asked) <= 8, "without a listing: that begins again some hours later"


def test_tokens_without_an_end_are_renewed_when_they_are_rejected(workspace: Notion) -> None:
    filled(workspace)
    with at_server("notion", workspace):
        pair = workspace.apps.grant("client-1", ())
        row = granted("notion", workspace.url, pair)
        workspace.apps.clock += 3600
        assert fetch(row).state == RunState.SUCCEEDED
        assert len(titles(row, "page")) == 5
        workspace.apps.clock += 3600
        workspace.apps.loses_answers = 1
        assert fetch(row).state == RunState.FAILED
        row.refresh_from_db()
        assert row.reconnect_since is None, "Notion may have kept the former pair"
        fetch(row)
        row.refresh_from_db()
        assert row.reconnect_since is not None
