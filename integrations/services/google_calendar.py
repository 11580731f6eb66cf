"""Google Calendar: the calendars in a person's list, and their events.

Both come by sync tokens: each reading brings what changed since the last one, deletions too. The
next token is on the last page alone, and is stored together with what the pages had. When Google
no longer accepts a token (410), that list is read in full, and what isn't in it is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from common.errors import RainboError
from common.http import Answer
from integrations.plugin import (
    Account,
    Broken,
    Cursor,
    Gone,
    Item,
    Later,
    OAuth2,
    Plugin,
    Position,
    Reconnect,
    Record,
    Revocation,
    Whole,
)
from integrations.source import Source

SCOPE = "https://www.googleapis.com/auth/calendar"
LIST = "/users/me/calendarList"
PAGE = "250"
PAGES = 10_000  # of one list: more, and the service goes in a circle
LIMITS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "calendarUsageLimitsExceeded"})
LONG_LIMITS = frozenset({"quotaExceeded", "dailyLimitExceeded"})
USUAL_WAIT, LONG_WAIT = 60.0, 3600.0  # seconds

Json = dict[str, Any]


class Expired(Broken):
    """A sync token, or a page token, is no longer accepted."""


class Unreadable(Broken):
    """A calendar is in the list, and its events can't be read."""


class GoogleCalendar(Plugin):
    name = "google_calendar"
    title = "Google Calendar"
    period = timedelta(minutes=30)
    base_url = "https://www.googleapis.com/calendar/v3"
    auth = OAuth2(
        authorize="https://accounts.google.com/o/oauth2/v2/auth",
        token="https://oauth2.googleapis.com/token",  # noqa: S106 (an address)
        scopes=(f"{SCOPE}.events.readonly", f"{SCOPE}.calendarlist.readonly"),
        # Without them Google sends a refresh token once, at the first consent alone.
        parameters={"access_type": "offline", "prompt": "consent"},
        revoke=Revocation(
            url="https://oauth2.googleapis.com/revoke",
            prefers_refresh=True,
            over=frozenset({"invalid_token"}),
        ),
        account_page="https://myaccount.google.com/connections",
    )
    has_private_paths = True  # a calendar's id is somebody's address
    history = {"event": ("status", "start", "end", "location")}

    def fetch_data(self, source: Source, position: Position | None) -> Iterator[Item]:
        at: Json = {"list": "", "events": {}, **(position or {})}
        at["events"] = dict(at["events"])
        yield from self._calendars(source, at)
        for calendar in sorted(at["events"]):
            yield from self._events(source, at, calendar)

    def identify(self, source: Source, granted: Mapping[str, Any]) -> Account:
        """The primary calendar is named by the account's address."""
        found = source.json(source.get(f"{LIST}/primary"))
        if not isinstance(found, dict):
            raise Broken("Google did not say whose calendars these are")
        name = str(found.get("id") or "")
        return Account(name, name)

    def explain(self, answer: Answer) -> RainboError | None:
        if answer.is_success or answer.status in (401, 429):
            return None
        reasons = _reasons(answer)
        if answer.status == 410:
            return Expired("Google no longer accepts how far it was read (410)")
        if answer.status == 404:
            return Unreadable("Google doesn't find it (404)")
        if answer.status != 403:
            return None
        if reasons & (LIMITS | LONG_LIMITS):
            usual = LONG_WAIT if reasons & LONG_LIMITS else USUAL_WAIT
            wait = answer.retry_after.total_seconds() if answer.retry_after else usual
            return Later(wait, "Google asked to wait")
        if reasons & {"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}:
            return Reconnect("Google was allowed less than RAINBO needs: allow all of it")
        if reasons & {"accessNotConfigured", "SERVICE_DISABLED"}:
            return Broken("the Google Calendar API is not enabled in the project of the app (403)")
        return Unreadable("Google does not allow to read it (403)")

    def _calendars(self, source: Source, at: Json) -> Iterator[Item]:
        """A calendar that is removed from the list, or hidden in it, goes with its events."""
        rows, at["list"], is_full = _changes(source, LIST, at["list"], {})
        shown = set()
        for row in rows:
            name = row["id"]
            if row.get("deleted") or row.get("hidden"):
                yield Gone("calendar", name)
                yield Gone("event", _prefix(name), is_prefix=True)
                at["events"].pop(name, None)
            else:
                yield _calendar(row)
                at["events"].setdefault(name, "")
                shown.add(name)
        if is_full:
            yield Whole("calendar")
            for name in sorted(at["events"].keys() - shown):
                yield Whole("event", _prefix(name))
                del at["events"][name]
        yield _cursor(at)

    def _events(self, source: Source, at: Json, calendar: str) -> Iterator[Item]:
        """Recurring events come once, with the instances that are unlike the others.

        Nobody else's address is asked for: of the attendees, only the person themselves.
        """
        path = f"/calendars/{quote(calendar, safe='')}/events"
        try:
            rows, token, is_full = _changes(
                source, path, at["events"][calendar], {"maxAttendees": "1"}
            )
        except Unreadable as error:
            source.warn(f"a calendar was left out: {error}")
            return
        over = {row["id"] for row in rows if _is_deleted(row)}
        for row in rows:
            yield from _event(calendar, row, over)
        if is_full:
            yield Whole("event", _prefix(calendar))
        at["events"][calendar] = token
        yield _cursor(at)


def _changes(
    source: Source, path: str, token: str, parameters: Mapping[str, str]
) -> tuple[list[Json], str, bool]:
    """Return the rows that changed since the token, the next token, and whether these are all.

    All pages are read first: when a token expires in between, what came before counts for nothing.
    """
    if token:
        try:
            return *_read(source, path, {**parameters, "syncToken": token}), False
        except Expired:
            pass
    return *_read(source, path, parameters), True


def _read(source: Source, path: str, parameters: Mapping[str, str]) -> tuple[list[Json], str]:
    """A page may be short or empty without being the last."""
    rows: list[Json] = []
    asked = {"maxResults": PAGE, **parameters}
    for _ in range(PAGES):
        found = source.json(source.get(path, asked))
        items = found.get("items", []) if isinstance(found, dict) else None
        if not isinstance(items, list):
            raise Broken("Google answered something that is no list")
        rows += items
        following = found.get("nextPageToken")
        if not following:
            return rows, str(found.get("nextSyncToken") or "")
        asked["pageToken"] = following
    raise Broken("Google's list has no end")


def _cursor(at: Json) -> Cursor:
    return Cursor({**at, "events": dict(at["events"])})


def _prefix(calendar: str) -> str:
    """What the ids of a calendar's events begin with; two calendars may share an event's id."""
    return f"{quote(calendar, safe='@')}/"


def _reasons(answer: Answer) -> set[str]:
    """Why Google refused, in its older and its newer way to say so."""
    try:
        error = json.loads(answer.body)["error"]
        listed = [*error.get("errors", []), *error.get("details", [])]
        return {str(one.get("reason")) for one in listed}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return set()


def _calendar(row: Json) -> Record:
    kept = ("timeZone", "accessRole", "primary", "description")
    data = {name: row.get(name) for name in kept}
    title = row.get("summaryOverride") or row.get("summary") or ""
    return Record("calendar", row["id"], data, title)


def _is_deleted(row: Json) -> bool:
    """An instance that is cancelled does not take place; any other event is deleted."""
    return row.get("status") == "cancelled" and not row.get("recurringEventId")


def _event(calendar: str, row: Json, over: set[str]) -> Iterator[Item]:
    """over: events that are deleted: their instances are, too, whatever is said of these."""
    key = f"{_prefix(calendar)}{row['id']}"
    master = row.get("recurringEventId")
    if _is_deleted(row):
        yield Gone("event", key)
        for century in "12":  # an instance's id ends with its time; `_R…` is another series
            yield Gone("event", f"{key}_{century}", is_prefix=True)
    elif master in over:
        yield Gone("event", key)
    elif row.get("status") == "cancelled":  # no more than this is known of it for sure
        data = {"status": "cancelled", "recurringEventId": master}
        data["originalStartTime"] = _when(row.get("originalStartTime"))
        yield Record("event", key, data, "cancelled", at=_time(row.get("originalStartTime")))
    else:
        yield _record(key, row)


def _record(key: str, row: Json) -> Record:
    kept = ("status", "location", "visibility", "transparency", "eventType", "recurrence")
    data = {name: row.get(name) for name in (*kept, "recurringEventId")} | {
        "start": _when(row.get("start")),
        "end": _when(row.get("end")),
        "originalStartTime": _when(row.get("originalStartTime")),
        "organizer": (row.get("organizer") or {}).get("email"),
        "response": _response(row),
    }
    title, link = row.get("summary") or "", row.get("htmlLink") or ""
    return Record("event", key, data, title, link, _time(row.get("start")))


def _response(row: Json) -> str | None:
    """What the person themselves answered."""
    own = [one for one in row.get("attendees") or [] if one.get("self")]
    return own[0].get("responseStatus") if own else None


def _when(place: Json | None) -> Json | None:
    """A time in UTC, or a date: which zone Google writes times in depends on the calendar."""
    if not place:
        return None
    if place.get("date"):
        return {"date": place["date"]}
    at = _time(place)
    return {"at": at.isoformat() if at else None, "zone": place.get("timeZone")}


def _time(place: Json | None) -> datetime | None:
    """A date is its midnight in UTC."""
    if not place:
        return None
    text = place.get("dateTime") or place.get("date")
    if not text:
        return None
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
