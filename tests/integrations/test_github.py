"""GitHub, against a server that keeps a state as GitHub does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from integrations.models import Connection
from localfleet.services.github import GitHub
from localfleet.services.server import Asked, Reply
from syncs.models import RunState, TargetState
from tests.caches import query
from tests.integrations.rows import connection, fetch, part, stored, titles

pytestmark = pytest.mark.django_db(transaction=True)


def test_everything_is_read_over_several_pages(hub: GitHub) -> None:
    hub.page = 2
    for number in range(5):
        hub.add_repository(f"r{number}")
        hub.add_issue(f"issue {number}")
    hub.add_issue("a change", pull=True)
    hub.add_notification("you were mentioned")
    row = connection(hub.url)
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED, part(run, row).error
    assert titles(row, "repository") == [f"ann/r{number}" for number in range(5)]
    assert titles(row, "issue") == [f"issue {number}" for number in range(5)]
    assert titles(row, "pull_request") == ["a change"]
    assert titles(row, "notification") == ["you were mentioned"]
    row.refresh_from_db()
    assert (row.record_count, row.attempt, row.last_error) == (12, 0, "")


def test_a_second_run_writes_nothing_and_asks_conditionally(hub: GitHub) -> None:
    hub.page = 1
    hub.add_repository("home")
    hub.add_repository("other")
    hub.add_issue("one")
    hub.add_notification("two")
    row = connection(hub.url)
    fetch(row)
    fetch(row)
    before = stored_versions(row)
    hub.asked.clear()
    run = fetch(row)
    done = part(run, row)
    assert (done.added, done.changed, done.removed) == (0, 0, 0)
    assert stored_versions(row) == before
    conditional = [asked.parameters.get("page", "1") for asked in hub.asked if is_cheap(asked)]
    assert conditional == ["1"], "of the repositories; the last page is read"


def test_a_first_listing_of_notifications_goes_on_where_it_was_stopped(hub: GitHub) -> None:
    hub.page = 2
    for number in range(9):
        hub.add_notification(f"n{number}")
    row = connection(hub.url)
    hub.remaining = 5  # repositories, issues twice, two pages of notifications
    run = fetch(row)
    assert part(run, row).state == TargetState.SKIPPED, "GitHub asked to wait"
    assert titles(row, "notification") == ["n8", "n7", "n6", "n5"]
    hub.remaining = None
    hub.asked.clear()
    hub.add_notification("made meanwhile")
    allow(row)
    assert fetch(row).state == RunState.SUCCEEDED
    pages = [asked.parameters for asked in hub.asked if asked.path == "/notifications"]
    assert [page["before"] for page in pages] == [pages[0]["before"]] * 3, "not from its beginning"
    assert len(titles(row, "notification")) == 9
    allow(row)
    fetch(row)
    assert titles(row, "notification")[-1] == "made meanwhile"
    assert "before" not in hub.asked[-1].parameters
    row.refresh_from_db()
    assert row.cursor is not None
    assert "notifying" not in row.cursor


def allow(row: Connection) -> None:
    """Its waits are over."""
    row.refresh_from_db()
    at = {key: value for key, value in (row.cursor or {}).items() if key != "poll_after"}
    Connection.objects.filter(pk=row.pk).update(cursor=at, not_before=None)
    row.refresh_from_db()


def test_an_edit_and_a_new_issue_are_found_by_since(hub: GitHub) -> None:
    first, _ = hub.add_issue("one"), hub.add_issue("two")
    row = connection(hub.url)
    fetch(row)
    hub.edit(first, title="one!", state="closed")
    hub.add_issue("three")
    done = part(fetch(row), row)
    assert (done.added, done.changed) == (1, 1)
    change = row.records.get(title="one!").changes.order_by("field")
    assert [(c.field, c.old, c.new) for c in change] == [
        ("state", "open", "closed"),
        ("title", "one", "one!"),
    ]


def test_an_issue_that_changes_while_pages_are_read_hides_no_other(hub: GitHub) -> None:
    row = connection(hub.url)
    fetch(row)
    hub.page = 2
    rows = [hub.add_issue(f"i{number}") for number in range(6)]
    usual = hub.answer
    edits = iter([rows[0], rows[1], rows[2]])

    def answer(asked: Asked) -> Reply:
        found = usual(asked)
        if asked.path == "/issues" and (changed := next(edits, None)):
            hub.edit(changed, comments=1)
        return found

    hub.answer = answer  # type: ignore[method-assign]
    fetch(row)
    assert sorted(titles(row, "issue")) == [f"i{number}" for number in range(6)]


def test_what_was_deleted_is_gone_after_the_daily_listing(hub: GitHub) -> None:
    for number in range(3):
        hub.add_issue(f"i{number}")
    row = connection(hub.url)
    fetch(row)
    del hub.issues[1]
    fetch(row)
    assert titles(row, "issue") == ["i0", "i1", "i2"], "since says nothing of it"
    a_day_later(row)
    assert part(fetch(row), row).removed == 1
    assert titles(row, "issue") == ["i0", "i2"]


def test_a_deletion_while_pages_are_read_takes_nothing_from_readers(hub: GitHub) -> None:
    hub.page = 2
    for number in range(6):
        hub.add_issue(f"i{number}")
    row = connection(hub.url)
    fetch(row)
    a_day_later(row)
    usual, done = hub.answer, list[object]()

    def answer(asked: Asked) -> Reply:
        found = usual(asked)
        if asked.parameters.get("direction") == "asc" and not done:
            done.append(hub.issues.pop(0))  # after its page: i2 moves to the page that was read
        return found

    hub.answer = answer  # type: ignore[method-assign]
    fetch(row)
    assert "i2" in titles(row, "issue")
    fetch(row)
    assert titles(row, "issue") == ["i1", "i2", "i3", "i4", "i5"], "the next one is whole"


def test_a_listing_that_is_stopped_goes_on_at_its_next_page(hub: GitHub) -> None:
    hub.page = 1
    rows = [hub.add_issue(f"i{number}", pull=number == 1) for number in range(5)]
    row, other = connection(hub.url), connection(hub.url, name="undisturbed")
    usual, pages = hub.answer, list[str]()

    def answer(asked: Asked) -> Reply:
        if asked.path == "/issues" and "if-none-match" not in asked.headers:
            pages.append(asked.parameters.get("page", "1"))
            if pages == ["1", "1", "2", "3", "4"]:
                hub.edit(rows[0], title="edited")  # its page was read
                return Reply(500)
        return usual(asked)

    hub.answer = answer  # type: ignore[method-assign]
    assert part(fetch(row), row).state == TargetState.FAILED
    assert titles(row, "issue") == ["i0", "i2"], "what was read is there"
    assert part(fetch(row), row).state == TargetState.SUCCEEDED
    assert pages == ["1", "1", "2", "3", "4", "3", "4", "5"], "from the last one"
    row.refresh_from_db()
    assert row.cursor is not None
    assert "listing" not in row.cursor
    fetch(row)
    fetch(other)
    assert stored(row) == stored(other), "none is gone, and the edit is there"


def test_a_listing_that_is_stopped_begins_again_a_day_later(hub: GitHub) -> None:
    hub.page = 1
    for number in range(3):
        hub.add_issue(f"i{number}")
    row = connection(hub.url)
    fetch(row)
    a_day_later(row)
    asked = len(hub.asked)
    row.refresh_from_db()
    long_ago = (timezone.now() - timedelta(days=2)).isoformat()
    stale: dict[str, Any] = {
        "began": long_ago,
        "since": None,
        "pages": [],
        "next": "/issues?page=77",
    }
    Connection.objects.filter(pk=row.pk).update(cursor=(row.cursor or {}) | {"listing": stale})
    del hub.issues[0]
    assert part(fetch(row), row).state == TargetState.SUCCEEDED
    assert titles(row, "issue") == ["i1", "i2"]
    assert all(one.parameters.get("page") != "77" for one in hub.asked[asked:])


@pytest.mark.parametrize(
    ("reply", "least"),
    [
        (Reply(429, {}, {"Retry-After": "90"}), 90),
        (Reply(403, {"message": "secondary rate limit"}), 60),
        (Reply(403, {}, {"Retry-After": "120"}), 120),
    ],
)
def test_a_limit_makes_it_wait_and_is_no_failure(hub: GitHub, reply: Reply, least: int) -> None:
    hub.add_repository("home")
    row = connection(hub.url)
    fetch(row)
    hub.faults = [reply]
    run = fetch(row)
    row.refresh_from_db()
    assert part(run, row).state == TargetState.SKIPPED
    assert (row.attempt, row.last_error, row.last_triggered_at) == (0, "", None)
    assert row.not_before is not None
    assert abs(row.not_before - timezone.now() - timedelta(seconds=least)) < timedelta(seconds=20)


def test_a_used_up_hour_waits_until_it_is_reset_and_keeps_what_came(hub: GitHub) -> None:
    hub.add_repository("home")
    hub.add_issue("one")
    hub.remaining = 1  # for the repositories
    row = connection(hub.url)
    run = fetch(row)
    assert part(run, row).state == TargetState.SKIPPED
    assert titles(row, "repository") == ["ann/home"]
    row.refresh_from_db()
    assert row.not_before is not None
    assert row.not_before > timezone.now() + timedelta(seconds=90)
    hub.remaining = None
    Connection.objects.filter(pk=row.pk).update(not_before=None)
    assert fetch(row).state == RunState.SUCCEEDED
    assert titles(row, "issue") == ["one"]


def test_a_token_that_is_rejected_needs_a_person(hub: GitHub) -> None:
    row = connection(hub.url, token="revoked")
    run = fetch(row)
    row.refresh_from_db()
    assert (run.state, row.attempt) == (RunState.FAILED, 0)
    assert row.reconnect_since is not None
    assert "401" in row.last_error
    hub.asked.clear()
    fetch(row)
    assert not hub.asked, "it is not tried again"


@pytest.mark.parametrize(
    "fault",
    [
        Reply(500, "oops"),
        Reply(200, "no JSON"),
        Reply(200, {"message": "no list"}),
        Reply(200, [{"id": 1}]),
        Reply(200, [{"id": 1, "full_name": "a/b"}] * 9, half=True),
        Reply(301, None, {"Location": "https://elsewhere.example/"}),
        Reply(404, {"message": "Not Found"}),
        Reply(403, {"message": "Resource not accessible by personal access token"}),
        Reply(200, [], {"Link": '<https://elsewhere.example/?page=2>; rel="next"'}),
    ],
)
def test_a_bad_answer_fails_and_removes_nothing(hub: GitHub, fault: Reply) -> None:
    hub.add_repository("home")
    row = connection(hub.url)
    fetch(row)
    hub.add_repository("other")
    before = stored(row)
    hub.faults = [fault]
    Connection.objects.filter(pk=row.pk).update(cursor=None)
    run = fetch(row)
    row.refresh_from_db()
    assert part(run, row).state == TargetState.FAILED
    assert row.attempt == 1
    assert stored(row) == before
    assert "github-token" not in part(run, row).error
    assert fetch(row).state == RunState.SUCCEEDED
    assert titles(row, "repository") == ["ann/home", "ann/other"]


def test_an_empty_list_where_rows_were_is_held(hub: GitHub) -> None:
    hub.add_repository("home")
    row = connection(hub.url)
    fetch(row)
    gone = hub.repositories.pop()
    run = fetch(row)
    assert (run.state, part(run, row).state) == (RunState.HELD, TargetState.HELD)
    assert titles(row, "repository") == ["ann/home"]
    row.refresh_from_db()
    assert row.attempt == 0
    accepted = fetch(row, accept_held=run.pk, reason="it was deleted")
    assert accepted.state == RunState.SUCCEEDED, accepted.error
    assert titles(row, "repository") == []
    hub.repositories.append(gone)
    assert part(fetch(row), row).changed == 1, "what comes back is there again"
    row.refresh_from_db()
    assert row.record_count == 1


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(hub: GitHub) -> None:
    hub.add_repository("home")
    row = connection(hub.url)
    before = Connection.objects.filter(pk=row.pk).values().get()
    run = fetch(row, dry_run=True)
    assert part(run, row).added == 1
    assert not stored(row)
    assert Connection.objects.filter(pk=row.pk).values().get() == before


def is_cheap(asked: Asked) -> bool:
    return "if-none-match" in asked.headers


def a_day_later(row: Connection) -> None:
    row.refresh_from_db()
    assert row.cursor is not None
    long_ago = (timezone.now() - timedelta(days=2)).isoformat()
    Connection.objects.filter(pk=row.pk).update(cursor=row.cursor | {"full_at": long_ago})


def stored_versions(row: Connection) -> list[tuple[object, ...]]:
    """Which transaction wrote each record: it changes with every write, and with every lock."""
    return sorted(
        query(
            "SELECT id, xmin::text, xmax::text, ctid::text FROM integrations_externalrecord "
            "WHERE connection_id = %s",
            row.pk,
        )
    )
