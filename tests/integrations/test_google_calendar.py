"""Google Calendar, against a server that keeps sync tokens as Google does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from integrations.models import Connection
from localfleet.services.google_calendar import GoogleCalendar
from localfleet.services.server import Asked, Reply, running
from syncs.models import RunState, TargetState
from tests.caches import query
from tests.integrations.oauth import at_server, expired, granted
from tests.integrations.rows import fetch, part, stored, titles
from tests.integrations.worlds import SCOPES

pytestmark = pytest.mark.django_db(transaction=True)

TEAM = "team@group.calendar.google.com"


@pytest.fixture
def google(loopback: None) -> Iterator[GoogleCalendar]:
    with running(GoogleCalendar()) as server, at_server("google_calendar", server):
        assert isinstance(server, GoogleCalendar)
        yield server


def connect(google: GoogleCalendar) -> Connection:
    pair = google.apps.grant("client-1", SCOPES)
    return granted("google_calendar", f"{google.url}/calendar/v3", pair)


def asked_for_events(google: GoogleCalendar) -> list[Asked]:
    return [one for one in google.asked if one.path.endswith("/events")]


def test_only_what_changed_is_asked_for(google: GoogleCalendar) -> None:
    for number in range(5):
        event = google.add_event(google.person, f"e{number}")
    google.page = 2
    row = connect(google)
    assert fetch(row).state == RunState.SUCCEEDED
    assert len(asked_for_events(google)) == 3
    google.edit(google.person, event, summary="moved")
    google.asked.clear()
    done = part(fetch(row), row)
    assert (done.read, done.added, done.changed) == (1, 0, 1)
    (asked,) = asked_for_events(google)
    assert set(asked.parameters) == {"syncToken", "maxResults", "maxAttendees"}
    assert titles(row, "event")[-1] == "moved"


def test_a_token_that_expired_has_all_read_and_what_is_absent_gone_at_once(
    google: GoogleCalendar,
) -> None:
    """In one transaction: who reads meanwhile sees the former state or the next one."""
    google.add_calendar(TEAM)
    kept = google.add_event(google.person, "kept")
    gone = google.add_event(google.person, "gone")
    google.add_event(TEAM, "of another calendar")
    row = connect(google)
    fetch(row)
    del google.events[google.person].rows[gone["id"]]  # so long ago that Google forgot it
    google.add_event(google.person, "new")
    google.edit(google.person, kept, summary="kept, edited")
    google.expire_sync_tokens()
    done = part(fetch(row), row)
    assert (done.added, done.changed, done.removed) == (1, 1, 1)
    assert sorted(titles(row, "event")) == ["kept, edited", "new", "of another calendar"]
    found = query(
        "SELECT DISTINCT xmin::text FROM integrations_externalrecord WHERE connection_id = %s "
        "AND title IN ('gone', 'new', 'kept, edited')",
        row.pk,
    )
    assert len(found) == 1


def test_what_came_before_a_token_expired_counts_for_nothing(google: GoogleCalendar) -> None:
    """An event of the first page may have been deleted before the full listing began."""
    google.page = 1
    events = [google.add_event(google.person, f"e{number}") for number in range(3)]
    row = connect(google)
    fetch(row)
    for event in events:
        google.edit(google.person, event, location="there")
    usual, done = google.answer, list[bool]()

    def answer(asked: Asked) -> Reply:
        if "pageToken" in asked.parameters and not done:
            done.append(True)
            del google.events[google.person].rows[events[0]["id"]]
            google.expire_sync_tokens()
            return Reply(410, {"error": {"code": 410, "errors": [{"reason": "fullSyncRequired"}]}})
        return usual(asked)

    google.answer = answer  # type: ignore[method-assign]
    assert fetch(row).state == RunState.SUCCEEDED
    assert done
    assert titles(row, "event") == ["e1", "e2"]


def test_the_next_token_is_stored_after_the_last_page_alone(google: GoogleCalendar) -> None:
    google.page = 1
    for number in range(3):
        google.add_event(google.person, f"e{number}")
    row = connect(google)
    fetch(row)
    row.refresh_from_db()
    before = row.cursor and row.cursor["events"]
    for _, event in list(google.events[google.person].rows.values()):
        google.edit(google.person, event, location="there")
    usual = google.answer

    def answer(asked: Asked) -> Reply:
        return Reply(500, "oops") if "pageToken" in asked.parameters else usual(asked)

    google.answer = answer  # type: ignore[method-assign]
    assert fetch(row).state == RunState.FAILED
    row.refresh_from_db()
    assert row.cursor is not None
    assert row.cursor["events"] == before
    google.answer = usual  # type: ignore[method-assign]
    assert part(fetch(row), row).changed == 3


def test_a_series_goes_with_its_instances_and_no_other_series(google: GoogleCalendar) -> None:
    weekly = google.add_event(google.person, "weekly", recurrence=["RRULE:FREQ=WEEKLY"])
    google.add_exception(google.person, weekly, 7, summary="later")
    google.cancel_instance(google.person, weekly, 14)
    split = f"{weekly['id']}_R20260401T090000"  # "this and following" makes a series of its own
    google.add_event(google.person, "from April on", id=split)
    row = connect(google)
    fetch(row)
    assert sorted(titles(row, "event")) == ["cancelled", "from April on", "later", "weekly"]
    kept = stored(row, ["event"])["event", f"{google.person}/{weekly['id']}_20260316T090000Z"]
    assert set(kept[1]) == {"status", "recurringEventId", "originalStartTime"}
    google.delete(google.person, weekly)
    assert part(fetch(row), row).removed == 3
    assert titles(row, "event") == ["from April on"]


def test_two_calendars_may_share_an_event(google: GoogleCalendar) -> None:
    google.add_calendar(TEAM)
    mine = google.add_event(google.person, "ours")
    google.add_event(TEAM, "ours", id=mine["id"])
    row = connect(google)
    fetch(row)
    assert titles(row, "event") == ["ours", "ours"]
    google.remove_calendar(TEAM)
    fetch(row)
    assert (titles(row, "calendar"), titles(row, "event")) == (["of ann@example.com"], ["ours"])


def test_a_calendar_that_cannot_be_read_is_a_warning(google: GoogleCalendar) -> None:
    google.add_calendar(TEAM)
    google.add_event(TEAM, "theirs")
    row = connect(google)
    fetch(row)
    google.unreadable = {TEAM}
    google.add_event(google.person, "mine")
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED
    assert "a calendar was left out" in part(run, row).note
    assert TEAM not in part(run, row).note, "more people see runs than calendars"
    assert sorted(titles(row, "event")) == ["mine", "theirs"]


def test_nobody_elses_address_is_stored(google: GoogleCalendar) -> None:
    people = [
        {"email": google.person, "self": True, "responseStatus": "accepted"},
        {"email": "bob@example.com", "responseStatus": "declined"},
    ]
    google.add_event(google.person, "lunch", attendees=people, description="bring bob@example.com")
    row = connect(google)
    fetch(row)
    (kept,) = stored(row, ["event"]).values()
    assert kept[1]["response"] == "accepted"
    assert "bob" not in str(kept)


def test_times_are_kept_in_utc_whatever_zone_they_come_in(google: GoogleCalendar) -> None:
    place = {"dateTime": "2026-03-02T10:00:00+01:00", "timeZone": "Europe/Prague"}
    event = google.add_event(google.person, "one", start=place)
    google.add_event(google.person, "all day", start={"date": "2026-03-05"})
    row = connect(google)
    fetch(row)
    google.edit(google.person, event, start=place | {"dateTime": "2026-03-02T09:00:00Z"})
    assert part(fetch(row), row).changed == 0
    at = dict(row.records.filter(kind="event").values_list("title", "occurred_at"))
    assert [str(at[name]) for name in ("one", "all day")] == [
        "2026-03-02 09:00:00+00:00",
        "2026-03-05 00:00:00+00:00",
    ]


def refusal(status: int, reason: str, **headers: str) -> Reply:
    body = {"error": {"code": status, "errors": [{"reason": reason}]}}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("reply", "least"),
    [
        (refusal(403, "rateLimitExceeded"), 60),
        (refusal(403, "userRateLimitExceeded", Retry_After="90"), 90),
        (refusal(403, "quotaExceeded"), 3600),
        (refusal(429, "rateLimitExceeded", Retry_After="120"), 120),
    ],
)
def test_a_limit_makes_it_wait_and_is_no_failure(
    google: GoogleCalendar, reply: Reply, least: int
) -> None:
    row = connect(google)
    google.faults = [reply]
    run = fetch(row)
    row.refresh_from_db()
    assert part(run, row).state == TargetState.SKIPPED
    assert (row.attempt, row.last_error) == (0, "")
    assert row.not_before is not None
    assert abs(row.not_before - timezone.now() - timedelta(seconds=least)) < timedelta(seconds=20)


@pytest.mark.parametrize(
    ("reply", "needs_person", "said"),
    [
        (refusal(403, "insufficientPermissions"), True, "allow all of it"),
        (refusal(403, "accessNotConfigured"), False, "not enabled"),
        (refusal(403, "forbidden"), False, "does not allow"),
        (refusal(500, "backendError"), False, "500"),
        (refusal(410, "gone"), False, "410"),
        (Reply(200, []), False, "no list"),
        (Reply(200, {"items": "x"}), False, "no list"),
        (Reply(200, {"items": [{"no": "id"}]}), False, "can't read"),
        (Reply(403, "<html>"), False, "403"),
        (Reply(403, {"error": "x"}), False, "403"),
    ],
)
def test_a_bad_answer_fails_and_removes_nothing(
    google: GoogleCalendar, reply: Reply, needs_person: bool, said: str
) -> None:
    google.add_event(google.person, "one")
    row = connect(google)
    fetch(row)
    before = stored(row)
    Connection.objects.update(cursor=None)
    google.faults = [reply]
    run = fetch(row)
    row.refresh_from_db()
    assert part(run, row).state == TargetState.FAILED
    assert said in row.last_error
    assert (row.reconnect_since is not None) is needs_person
    assert stored(row) == before


def test_the_log_names_no_calendar(
    google: GoogleCalendar, caplog: pytest.LogCaptureFixture
) -> None:
    """Its id is somebody's address."""
    row = connect(google)
    with caplog.at_level("INFO"):
        fetch(row)
    assert "GET 127.0.0.1" in caplog.text
    assert "ann" not in caplog.text.replace("scanned", "")


def test_a_renewed_token_is_stored_and_the_refresh_token_stays(google: GoogleCalendar) -> None:
    """Google sends no other one with it."""
    row = connect(google)
    first = row.reveal_credentials()
    google.apps.clock += 3600
    assert fetch(expired(row)).state == RunState.SUCCEEDED
    row.refresh_from_db()
    second = row.reveal_credentials()
    assert second["refresh_token"] == first["refresh_token"]
    assert second["token"] != first["token"]
    assert [one.path for one in google.asked].count("/token") == 1


def test_a_token_that_is_rejected_before_its_time_is_renewed_once(google: GoogleCalendar) -> None:
    row = connect(google)
    google.apps.access.clear()
    assert fetch(row).state == RunState.SUCCEEDED
    google.apps.access.clear()
    google.apps.refresh.clear()
    fetch(row)
    row.refresh_from_db()
    assert row.reconnect_since is not None
    assert "invalid_grant" in row.last_error


@pytest.mark.parametrize("fault", [Reply(503, "busy"), Reply(429, {}), Reply(200, {}, half=True)])
def test_a_service_that_is_busy_needs_no_person(google: GoogleCalendar, fault: Reply) -> None:
    row = expired(connect(google))
    google.faults = [fault]
    fetch(row)
    row.refresh_from_db()
    assert row.reconnect_since is None
    Connection.objects.update(not_before=None)
    assert fetch(row).state == RunState.SUCCEEDED


def test_tokens_are_in_no_column_but_their_own(google: GoogleCalendar) -> None:
    google.add_event(google.person, "one")
    row = expired(connect(google))
    fetch(row)
    row.refresh_from_db()
    secrets = [v for k, v in row.reveal_credentials().items() if k in ("token", "refresh_token")]
    tables: Any = ("syncs_syncrun", "syncs_runtarget", "integrations_externalrecord")
    for table in (*tables, "integrations_connection"):
        text = str(query(f"SELECT t::text FROM {table} AS t"))
        assert not [secret for secret in secrets if secret in text]
