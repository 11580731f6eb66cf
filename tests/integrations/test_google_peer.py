"""Google's own client uses our server, and every answer is of the types of its description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localfleet.services.google_calendar import GoogleCalendar
from localfleet.services.server import running
from tests.integrations.peers import run_peer
from tests.integrations.worlds import SCOPES

CLIENT = """
import json, sys, warnings
from pathlib import Path

import googleapiclient
from google.auth.exceptions import RefreshError
from google.api_core.client_options import ClientOptions
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

url, access, refresh, sync_tokens = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
places = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
schemas = json.loads((places / "calendar.v3.json").read_text())["schemas"]
TYPES = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}
wrong = []

def check(value, schema, where):
    if "$ref" in schema:
        return check(value, schemas[schema["$ref"]], where)
    if schema["type"] == "array":
        for one in value:
            check(one, schema["items"], where + "[]")
    elif schema["type"] == "object":
        for name, inner in value.items():
            known = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            check(inner, known, f"{where}.{name}") if known else wrong.append(f"{where}.{name}")
    elif not isinstance(value, TYPES[schema["type"]]):
        wrong.append(f"{where} is {value!r}")

credentials = Credentials(access, refresh_token=refresh, token_uri=f"{url}/token",
                          client_id="client-1", client_secret="client-secret-1")
calendar = build("calendar", "v3", credentials=credentials, static_discovery=True,
                 client_options=ClientOptions(api_endpoint=f"{url}/calendar/v3/"))

def pages(resource, schema, **given):
    request, found, sizes = resource.list(**given), [], []
    while request is not None:
        answer = request.execute()
        check(answer, schemas[schema], schema)
        found += answer.get("items", [])
        sizes.append(len(answer.get("items", [])))
        last, request = answer, resource.list_next(request, answer)
    return {"items": found, "sizes": sizes, "token": last.get("nextSyncToken")}

def status(call):
    try:
        call()
    except HttpError as error:
        return [error.status_code, error.error_details[0]["reason"]]
    except RefreshError as error:
        return ["refresh", error.args[1]["error"]]

lists, events = calendar.calendarList(), calendar.events()
first = {name: {"syncToken": token} for name, token in sync_tokens.items()}
done = {"calendars": pages(lists, "CalendarList", maxResults=2, **first.get("", {})), "events": {}}
for row in done["calendars"]["items"] or [{"id": name} for name in sync_tokens if name]:
    name = row["id"]
    done["events"][name] = pages(events, "Events", calendarId=name, maxResults=2,
                                 **first.get(name, {}))
done["primary"] = lists.get(calendarId="primary").execute()["id"]
done["missing"] = status(events.list(calendarId="nobody@example.com").execute)
token = done["calendars"]["token"]
done["forbidden"] = status(
    events.list(calendarId=done["primary"], syncToken=token, timeMin="2026-01-01T00:00:00Z").execute
)
done["other list"] = status(events.list(calendarId=done["primary"], syncToken=token).execute)
done["access"] = credentials.token
done["wrong"] = wrong
print(json.dumps(done))
"""
STATUS = """
import json, sys
from google.api_core.client_options import ClientOptions
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

url, access, refresh, sync_token = sys.argv[1:]
credentials = Credentials(access, refresh_token=refresh, token_uri=f"{url}/token",
                          client_id="client-1", client_secret="client-secret-1")
calendar = build("calendar", "v3", credentials=credentials, static_discovery=True,
                 client_options=ClientOptions(api_endpoint=f"{url}/calendar/v3/"))
try:
    calendar.calendarList().list(syncToken=sync_token, maxResults=2).execute()
except HttpError as error:
    print(json.dumps([error.status_code, error.error_details[0]["reason"]]))
except RefreshError as error:
    print(json.dumps(["refresh", error.args[1]["error"]]))
"""


@pytest.fixture
def google() -> Iterator[GoogleCalendar]:
    with running(GoogleCalendar()) as server:
        assert isinstance(server, GoogleCalendar)
        yield server


def titles(found: dict[str, Any], calendar: str) -> list[str]:
    return [row.get("summary", row["status"]) for row in found["events"][calendar]["items"]]


def test_googles_client_reads_what_is_there(google: GoogleCalendar) -> None:
    google.gaps, google.page = True, 2
    team = google.add_calendar("team#1@group.calendar.google.com")
    for number in range(3):
        google.add_event(google.person, f"e{number}", attendees=[{"email": "x@y.z", "self": True}])
    weekly = google.add_event(team, "weekly", recurrence=["RRULE:FREQ=WEEKLY"])
    google.add_exception(team, weekly, 7, summary="later")
    google.cancel_instance(team, weekly, 14)
    google.add_event(team, "all day", start={"date": "2026-03-05"}, end={"date": "2026-03-06"})
    pair: Any = google.apps.grant("client-1", SCOPES)
    tokens = (pair["access_token"], pair["refresh_token"])
    done = json.loads(run_peer(CLIENT, google.url, *tokens, "{}"))
    assert done["wrong"] == []
    assert titles(done, google.person) == ["e0", "e1", "e2"]
    assert titles(done, team) == ["weekly", "later", "cancelled", "all day"]
    assert done["events"][team]["sizes"] == [0, 2, 2]
    assert (done["primary"], done["missing"]) == (google.person, [404, "notFound"])
    assert (done["forbidden"][0], done["other list"][0]) == (400, 400)

    known = {name: one["token"] for name, one in done["events"].items()}
    known[""] = done["calendars"]["token"]
    google.delete(team, weekly)
    google.add_event(google.person, "new")
    google.apps.clock += 3600  # its access token expires; the client renews it by itself
    done = json.loads(run_peer(CLIENT, google.url, *tokens, json.dumps(known)))
    assert done["wrong"] == []
    assert (titles(done, google.person), titles(done, team)) == (["new"], ["cancelled"])
    assert done["access"] != tokens[0]

    google.expire_sync_tokens()
    said = run_peer(STATUS, google.url, *tokens, known[""])
    assert json.loads(said) == [410, "fullSyncRequired"]
    google.apps.refresh.clear()
    google.apps.access.clear()
    said = run_peer(STATUS, google.url, *tokens, known[""])
    assert json.loads(said) == ["refresh", "invalid_grant"]
