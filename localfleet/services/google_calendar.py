"""Google Calendar as its API answers: sync tokens, pages that may be empty, 410; and its consent.

The list of calendars and the events of each are lists with changes: each row has the number of its
last change. A sync token names the last change that was read and the parameters it was read by.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from localfleet.services.authorization import Authorization
from localfleet.services.server import Asked, Reply, Service

Row = dict[str, Any]
BEGIN = datetime(2026, 3, 2, 9, tzinfo=UTC)
ROOT = "/calendar/v3"
NOT_WITH_TOKEN = frozenset(
    {"iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty"}
    | {"timeMin", "timeMax", "updatedMin"}
)
PAGING = frozenset({"pageToken", "syncToken"})


@dataclass
class Changes:
    """Rows by id, each with the number of its last change."""

    rows: dict[str, tuple[int, Row]] = field(default_factory=dict)

    def since(self, number: int) -> list[Row]:
        return [row for key, (at, row) in sorted(self.rows.items()) if at > number]


@dataclass
class Reading:
    """A list as it was when its first page was asked for. begin: of the next page."""

    rows: list[Row]
    sync_token: str
    parameters: str
    begin: int = 0
    had_gap: bool = False


class GoogleCalendar(Service):
    """The calendars of one person; the first is the primary one, named by their address.

    page: rows of a page at most, whatever is asked. gaps: the first page is empty. apps: where
    people allow an app what it asks for.
    """

    def __init__(self, person: str = "ann@example.com") -> None:
        super().__init__()
        self.apps = Authorization(
            "Google", lives=3600.0, rotates=False, error_status=400, separator=" "
        )
        self.apps.person = person
        self.person = person
        self.page = 250
        self.gaps = False
        self.unreadable: set[str] = set()  # calendars whose events are not found
        self.calendars = Changes()
        self.events: dict[str, Changes] = {}
        self._change = self._ids = self._valid_from = 0
        self._readings: dict[str, Reading] = {}
        self.add_calendar(person, primary=True)

    def add_calendar(self, name: str, **fields: Any) -> str:
        """Returns its id; one that was removed comes back with its events."""
        row = {"kind": "calendar#calendarListEntry", "id": name, "summary": f"of {name}"}
        known = {"timeZone": "Europe/Prague", "accessRole": "owner", "etag": '"0"'}
        self.calendars.rows[name] = (self._next(), row | known | fields)
        self.events.setdefault(name, Changes())
        return name

    def remove_calendar(self, name: str) -> None:
        row = {"kind": "calendar#calendarListEntry", "id": name, "deleted": True}
        self.calendars.rows[name] = (self._next(), row)

    def add_event(self, calendar: str, title: str, **fields: Any) -> Row:
        self._ids += 1
        begin = BEGIN + timedelta(days=self._ids)
        row: Row = {
            "kind": "calendar#event",
            "id": f"event{self._ids}",
            "status": "confirmed",
            "summary": title,
            "htmlLink": f"https://www.google.com/calendar/event?eid={self._ids}",
            "created": _write(BEGIN),
            "start": {"dateTime": _write(begin), "timeZone": "Europe/Prague"},
            "end": {"dateTime": _write(begin + timedelta(hours=1)), "timeZone": "Europe/Prague"},
            "organizer": {"email": self.person, "self": True},
            "iCalUID": f"event{self._ids}@google.com",
            "sequence": 0,
            "eventType": "default",
        }
        return self._put(calendar, row | fields)

    def add_exception(self, calendar: str, master: Row, day: int, **fields: Any) -> Row:
        """One instance of a recurring event that is unlike the others."""
        at = BEGIN + timedelta(days=day)
        own = {
            "id": f"{master['id']}_{at:%Y%m%dT%H%M%SZ}",
            "recurringEventId": master["id"],
            "originalStartTime": {"dateTime": _write(at)},
        }
        known = {name: value for name, value in master.items() if name != "recurrence"}
        return self._put(calendar, known | own | fields)

    def cancel_instance(self, calendar: str, master: Row, day: int) -> Row:
        """An instance that does not take place: little more than its id is known of it."""
        whole = self.add_exception(calendar, master, day)
        kept = ("kind", "id", "recurringEventId", "originalStartTime")
        return self._put(calendar, {name: whole[name] for name in kept} | {"status": "cancelled"})

    def edit(self, calendar: str, row: Row, **fields: Any) -> None:
        self._put(calendar, row | fields)

    def delete(self, calendar: str, row: Row) -> None:
        """Of a recurring event the instances go too, and nothing says so of them."""
        rows = self.events[calendar].rows
        for key in [k for k, (_, r) in rows.items() if r.get("recurringEventId") == row["id"]]:
            del rows[key]
        self._put(calendar, {"kind": "calendar#event", "id": row["id"], "status": "cancelled"})

    def present(self, calendar: str) -> list[Row]:
        """The events that are there, and the instances that do not take place."""
        return [row for row in self.events[calendar].since(0) if not _is_deleted(row)]

    def shown(self) -> list[str]:
        """The ids of the calendars that a person sees in their list."""
        return [row["id"] for row in self.calendars.since(0) if not _is_hidden(row)]

    def expire_sync_tokens(self) -> None:
        """Those that were given so far are no longer accepted."""
        self._valid_from = self._next()

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/o/oauth2/v2/auth":
            return self.apps.consent(asked)
        if asked.path == "/token":
            return self.apps.token(asked, "invalid_grant", "invalid_grant")
        if asked.path == "/revoke":
            return self._revoke(asked.form.get("token") or asked.parameters.get("token", ""))
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        person = self.apps.person_of(token)
        if person is None:
            return _error(401, "authError")
        return self._found(asked, person)

    def _found(self, asked: Asked, person: str) -> Reply:
        match asked.path.removeprefix(ROOT).strip("/").split("/"):
            case ["users", "me", "calendarList"]:
                parameters = {"showDeleted": "false", "showHidden": "false"} | asked.parameters
                return self._list(asked, self.calendars, _is_hidden, "calendarList", parameters)
            case ["users", "me", "calendarList", "primary"]:
                return Reply(200, deepcopy(self.calendars.rows[self.person][1] | {"id": person}))
            case ["calendars", name, "events"] if (known := unquote(name)) in self.events:
                if known in self.unreadable:
                    return _error(404, "notFound")
                return self._list(asked, self.events[known], _is_deleted, "events", {})
        return _error(404, "notFound")

    def _list(
        self, asked: Asked, changes: Changes, is_left_out: Any, kind: str, usual: Row
    ) -> Reply:
        given = asked.parameters
        known = sorted((usual | given).items())
        parameters = str([pair for pair in known if pair[0] not in PAGING])
        if "pageToken" in given:
            reading = self._readings.pop(given["pageToken"], None)
            if reading is None or reading.parameters != parameters:
                return _error(400, "invalid")
        else:
            found = self._begin(given, changes, is_left_out, f"{asked.path} {parameters}")
            if isinstance(found, Reply):
                return found
            reading = found
            reading.parameters = parameters
        return self._page(reading, kind, int(given.get("maxResults", "250")))

    def _begin(
        self, given: dict[str, str], changes: Changes, is_left_out: Any, by: str
    ) -> Reading | Reply:
        digest = hashlib.sha256(by.encode()).hexdigest()[:12]
        sync_token = f"{self._change}.{digest}"
        if "syncToken" not in given:
            rows = [row for row in changes.since(0) if not is_left_out(row)]
            return Reading(deepcopy(rows), sync_token, "")
        number, _, made_by = given["syncToken"].partition(".")
        if NOT_WITH_TOKEN & given.keys() or given.get("showDeleted") == "false":
            return _error(400, "badRequest")
        if not number.isdecimal() or made_by != digest:
            return _error(400, "invalid")
        if int(number) < self._valid_from:
            return _error(410, "fullSyncRequired")
        return Reading(deepcopy(changes.since(int(number))), sync_token, "")

    def _page(self, reading: Reading, kind: str, asked_for: int) -> Reply:
        is_gap = self.gaps and not reading.had_gap
        reading.had_gap = True
        size = 0 if is_gap else min(self.page, asked_for)
        body: Row = {
            "kind": f"calendar#{kind}",
            "etag": f'"{self._change}"',
            "items": reading.rows[reading.begin : reading.begin + size],
        }
        reading.begin += size
        if is_gap or reading.begin < len(reading.rows):
            token = f"page-{self._next_page()}"
            self._readings[token] = reading
            return Reply(200, body | {"nextPageToken": token})
        return Reply(200, body | {"nextSyncToken": reading.sync_token})

    def _revoke(self, token: str) -> Reply:
        issued = self.apps.refresh.get(token) or self.apps.access.get(token)
        if issued is None or (token in self.apps.access and not self.apps.person_of(token)):
            return Reply(400, {"error": "invalid_token", "error_description": "Token expired"})
        self.apps.revoke_person(issued.person, issued.client)
        return Reply(200, {})

    def _put(self, calendar: str, row: Row) -> Row:
        number = self._next()
        row = row | {"updated": _write(BEGIN + timedelta(seconds=number)), "etag": f'"{number}"'}
        self.events[calendar].rows[row["id"]] = (number, row)
        return row

    def _next(self) -> int:
        self._change += 1
        return self._change

    def _next_page(self) -> int:
        self._ids += 1
        return self._ids


def _is_deleted(row: Row) -> bool:
    return row.get("status") == "cancelled" and "recurringEventId" not in row


def _is_hidden(row: Row) -> bool:
    return bool(row.get("deleted") or row.get("hidden"))


def _error(status: int, reason: str) -> Reply:
    one = {"domain": "global", "reason": reason, "message": reason}
    return Reply(status, {"error": {"code": status, "message": reason, "errors": [one]}})


def _write(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
