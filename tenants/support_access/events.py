"""What applications report: signed for each instance, stored once for each event's id."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from common.encryption import CredentialError, decrypt, encrypt
from common.errors import RainboError
from common.terminal import is_one_line
from tenants.models import ApplicationSecret, RdsInstance

WINDOW = timedelta(minutes=5)  # that a signature's time may differ from ours
OLDEST = timedelta(days=7)
MOST_EVENTS = 100  # in one request
MOST_REQUESTS = 60  # in a minute, of one instance
SCHEME = "v1="

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_ACTION = re.compile(r"[a-z0-9._:-]{1,100}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_OPTIONAL = {"tenant": 100, "user": 100, "text": 500}
_FIELDS = frozenset({"id", "at", "action", "session", *_OPTIONAL})

_COUNT = """
    UPDATE application_secrets
       SET requests = CASE WHEN minute = date_trunc('minute', clock_timestamp())
                           THEN requests + 1 ELSE 1 END,
           minute = date_trunc('minute', clock_timestamp())
     WHERE instance_id = %s
    RETURNING requests, ceil(60 - extract(second FROM clock_timestamp()))::integer"""
_STORE = """
    INSERT INTO application_events
        (instance_id, event_id, at, action, session, tenant_id, user_id, text)
    SELECT %s, id, at, action, session, tenant, "user", text
      FROM jsonb_to_recordset(%s::jsonb) AS event (
        id text, at timestamptz, action text, session uuid, tenant text, "user" text, text text)
        ON CONFLICT (instance_id, event_id) DO NOTHING"""


class InvalidEvents(RainboError):
    """Events that break the schema. errors: where and what."""

    kind = "events"

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{one['field']}: {one['detail']}" for one in errors))


@dataclass(frozen=True)
class Event:
    """One event as its application says it, within the bounds of the schema."""

    id: str
    at: str
    action: str
    session: str | None = None
    tenant: str = ""
    user: str = ""
    text: str = ""


def make_secret(instance: RdsInstance) -> str:
    """Make another secret for an instance's application and return it; the former one ends."""
    row = ApplicationSecret(instance=instance)
    secret = secrets.token_urlsafe(32)
    encrypted = encrypt(secret, row.binding)
    rows: Any = ApplicationSecret.objects
    rows.update_or_create(instance=instance, defaults={"secret": encrypted})
    return secret


def remove_secret(instance: RdsInstance) -> bool:
    """Remove it, so that nothing is accepted of the instance; return whether there was one."""
    return bool(ApplicationSecret.objects.filter(instance=instance).delete()[0])


def is_signed(instance_id: int, at: str, signature: str, body: bytes, now: datetime) -> bool:
    """Whether the instance's application signed the body, not long ago."""
    known = ApplicationSecret.objects.filter(pk=instance_id).first()
    try:
        secret = "" if known is None else decrypt(known.secret, known.binding, str(known))
    except CredentialError:
        secret = ""
    expected = SCHEME + sign(secret or secrets.token_urlsafe(32), at, body)
    is_right = hmac.compare_digest(expected.encode(), signature.encode())
    return bool(secret) and is_right and _is_recent(at, now)


def sign(secret: str, at: str, body: bytes) -> str:
    """Return the HMAC as hexadecimal digits, as applications compute it."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def count_request(instance_id: int) -> int | None:
    """Count a request; return the seconds to wait if the instance had too many, or None."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [instance_id])
        row = cursor.fetchone()
    if row is None or row[0] <= MOST_REQUESTS:
        return None
    return max(int(row[1]), 1)


def parse(document: Mapping[str, Any], now: datetime) -> list[Event]:
    """Return the events of a request's body. Raises InvalidEvents, and then none is valid."""
    given = document.get("events")
    if document.keys() != {"events"} or not isinstance(given, list):
        raise InvalidEvents([{"field": "body", "detail": "it takes one field, events: a list"}])
    if not 0 < len(given) <= MOST_EVENTS:
        raise InvalidEvents([{"field": "events", "detail": f"it takes 1 to {MOST_EVENTS} events"}])
    errors = [
        {"field": f"events.{number}.{name}", "detail": detail}
        for number, event in enumerate(given)
        for name, detail in _wrong(event, now)
    ]
    if errors:
        raise InvalidEvents(errors[:20])
    return [Event(**event) for event in given]


def store(instance_id: int, events: Sequence[Event]) -> int:
    """Store those that are new by their ids; return how many."""
    rows = json.dumps([asdict(event) for event in events])
    with connection.cursor() as cursor:
        cursor.execute(_STORE, [instance_id, rows])
        return int(cursor.rowcount)


def _wrong(event: Any, now: datetime) -> list[tuple[str, str]]:
    if not isinstance(event, dict):
        return [("", "an event is an object")]
    texts = {name: value for name, value in event.items() if isinstance(value, str)}
    found = [(name[:40], "there is no such field") for name in event.keys() - _FIELDS]
    found += [(name, "a text") for name in (event.keys() & _FIELDS) - texts.keys()]
    for name, pattern in (("id", _ID), ("action", _ACTION)):
        if not pattern.fullmatch(texts.get(name, "")):
            found.append((name, "it is missing, or has other characters or more than are allowed"))
    if "session" in texts and not _UUID.fullmatch(texts["session"]):
        found.append(("session", "a UUID in lower case"))
    for name, most in _OPTIONAL.items():
        value = texts.get(name, "")
        if len(value) > most or not is_one_line(value):
            found.append((name, f"one line of at most {most} characters"))
    if (why := _wrong_time(texts.get("at", ""), now)) is not None:
        found.append(("at", why))
    return found


def _wrong_time(text: str, now: datetime) -> str | None:
    try:
        at = datetime.fromisoformat(text) if _AT.fullmatch(text) else None
    except ValueError:
        at = None
    if at is None:
        return "a time with its offset, such as 2026-11-30T05:20:00Z"
    is_near = now - OLDEST <= at <= now + WINDOW
    return None if is_near else "a time of the last 7 days"


def _is_recent(at: str, now: datetime) -> bool:
    if not re.fullmatch("[0-9]{1,12}", at):
        return False
    return abs(now.timestamp() - int(at)) <= WINDOW.total_seconds()
