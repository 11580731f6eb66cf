"""Events of applications: signed, bounded, stored once."""

from __future__ import annotations

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from activity.models import Activity
from common.errors import UsageError
from tenants.models import ApplicationEvent, ApplicationSecret
from tenants.support_access import events
from tests.pages import text_of
from tests.rows import instance_row, staff, support_session

pytestmark = pytest.mark.django_db
URL = "/api/v1/activity"


def event(number: int = 1, **fields: Any) -> dict[str, Any]:
    at = timezone.now().isoformat(timespec="seconds")
    return {"id": f"e-{number}", "at": at, "action": "invoice.viewed", **fields}


def send(
    secret: str, body: Any, at: int | None = None, headers: dict[str, str] | None = None
) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    stamp = str(int(time.time()) if at is None else at)
    given = {
        "X-Rainbo-Instance": "2",
        "X-Rainbo-Timestamp": stamp,
        "X-Rainbo-Signature": f"v1={events.sign(secret, stamp, raw)}",
    } | (headers or {})
    client = Client(raise_request_exception=False)
    return client.post(URL, raw, content_type="application/json", headers=given)


@pytest.fixture
def secret() -> str:
    return events.make_secret(instance_row(2))


def test_an_event_is_stored_once_and_shown_in_its_session(secret: str, client: Client) -> None:
    row = support_session(instance_id=2)
    body = {
        "events": [event(1, session=str(row.pk), tenant="42", user="9", text="=2026"), event(2)]
    }
    for stored in (2, 0):
        answer = send(secret, body)
        assert (answer.status_code, answer.json()) == (200, {"stored": stored, "known": 2 - stored})
    assert send(secret, {"events": [event(2), event(3), event(3)]}).json()["stored"] == 1
    kept = ApplicationEvent.objects.get(event_id="e-1")
    assert (kept.instance_id, kept.session, kept.text) == (2, row.pk, "=2026")
    ApplicationEvent.objects.create(
        instance_id=3, event_id="x", at=timezone.now(), action="of.another", session=row.pk
    )
    client.force_login(staff(is_superuser=True))
    page = text_of(client.get(f"/admin/tenants/supportsession/{row.pk}/change/"))
    assert "invoice.viewed 9 =2026" in page
    assert "of.another" not in page, "another instance can't write into this trail"


@pytest.mark.django_db(transaction=True)
def test_the_same_event_at_once_is_stored_once() -> None:
    secret = events.make_secret(instance_row(2))

    def attempt(_: int) -> int:
        try:
            return int(send(secret, {"events": [event(1)]}).json()["stored"])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


class TestSignature:
    @pytest.mark.parametrize("seconds", [-299, 0, 299])
    def test_five_minutes_are_allowed(self, secret: str, seconds: int) -> None:
        at = int(time.time()) + seconds
        assert send(secret, {"events": [event()]}, at=at).status_code == 200

    @pytest.mark.parametrize("seconds", [-302, 302, -86_400, -(10**9)])
    def test_more_are_refused(self, secret: str, seconds: int) -> None:
        answer = send(secret, {"events": [event()]}, at=int(time.time()) + seconds)
        assert answer.status_code == 401
        assert answer["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-Rainbo-Signature": ""},
            {"X-Rainbo-Signature": "v1="},
            {"X-Rainbo-Signature": "v1=" + "0" * 64},
            {"X-Rainbo-Signature": "v1=" + "ü" * 64},
            {"X-Rainbo-Signature": "v1=" + "0" * 5000},
            {"X-Rainbo-Timestamp": "now"},
            {"X-Rainbo-Timestamp": "1" * 400},
            {"X-Rainbo-Instance": ""},
            {"X-Rainbo-Instance": "3"},
            {"X-Rainbo-Instance": "99"},
            {"X-Rainbo-Instance": "2 OR 1=1"},
        ],
        ids=str,
    )
    def test_what_is_not_signed_by_that_instance(
        self, secret: str, headers: dict[str, str]
    ) -> None:
        events.make_secret(instance_row(3))
        assert send(secret, {"events": [event()]}, headers=headers).status_code == 401
        assert not ApplicationEvent.objects.exists()

    def test_another_body_under_the_same_signature(self, secret: str) -> None:
        raw, stamp = json.dumps({"events": [event()]}).encode(), str(int(time.time()))
        signature = f"v1={events.sign(secret, stamp, raw)}"
        other = raw.replace(b"viewed", b"erased")
        given = {"X-Rainbo-Timestamp": stamp, "X-Rainbo-Signature": signature}
        assert send(secret, other, headers=given).status_code == 401
        assert send(secret, raw, headers=given).status_code == 200
        assert send(secret, raw, headers=given).json() == {"stored": 0, "known": 1}

    def test_without_a_secret_nothing_is_accepted(self) -> None:
        instance_row(2)
        assert send("", {"events": [event()]}).status_code == 401

    def test_guesses_are_limited_by_their_address_and_do_not_stop_the_application(
        self, secret: str
    ) -> None:
        answers = {send("wrong", {"events": [event()]}).status_code for _ in range(32)}
        assert answers == {401, 429}
        assert send(secret, {"events": [event()]}).status_code == 200


class TestBounds:
    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"events": []},
            {"events": {}},
            {"events": [event()], "more": 1},
            {"events": [event(n) for n in range(101)]},
            {"events": ["e"]},
            *(
                {"events": [event() | fields]}
                for fields in (
                    {"id": ""},
                    {"id": "x" * 65},
                    {"id": "a b"},
                    {"id": 7},
                    {"action": "Invoice Viewed"},
                    {"action": "x" * 101},
                    {"at": "2026-11-30T05:20:00"},
                    {"at": "yesterday"},
                    {"at": 1796016000},
                    {"at": "2020-01-01T00:00:00Z"},
                    {"at": "2999-01-01T00:00:00Z"},
                    {"at": "2026-02-30T05:20:00Z"},
                    {"session": "1"},
                    {"session": None},
                    {"tenant": "x" * 101},
                    {"tenant": 42},
                    {"user": "x" * 101},
                    {"text": "x" * 501},
                    {"text": "two\nlines"},
                    {"text": "\u202e"},
                    {"password": "x"},
                )
            ),
        ],
    )
    def test_what_breaks_the_schema_stores_nothing(self, secret: str, body: Any) -> None:
        if isinstance(body.get("events"), list) and len(body["events"]) == 1:
            body = {**body, "events": [event(9), *body["events"]]}  # the right one, too
        answer = send(secret, body)
        assert answer.status_code == 422, answer.json()
        assert answer.json()["errors"]
        assert not ApplicationEvent.objects.exists()

    @pytest.mark.parametrize("distance", [-timedelta(days=8), timedelta(minutes=6)])
    def test_what_is_too_old_or_too_new_is_refused(self, secret: str, distance: timedelta) -> None:
        at = (timezone.now() + distance).isoformat()
        answer = send(secret, {"events": [event() | {"at": at}]})
        assert answer.status_code == 422, answer.json()
        assert not ApplicationEvent.objects.exists()

    @pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"events": [], "events": []}', b"\xff"])
    def test_what_is_no_object_is_refused(self, secret: str, raw: bytes) -> None:
        assert send(secret, raw).status_code in (400, 415)

    def test_a_long_body_is_refused(self, secret: str) -> None:
        assert send(secret, b" " * (64 * 1024 + 1)).status_code == 413

    def test_too_many_requests_wait(self, secret: str) -> None:
        ApplicationSecret.objects.update(requests=events.MOST_REQUESTS)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE application_secrets SET minute = date_trunc('minute', now())")
        answer = send(secret, {"events": [event()]})
        assert answer.status_code in (200, 429)  # 200: the minute changed just now
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE application_secrets SET minute = minute - interval '1 minute', "
                "requests = 1000"
            )
        assert send(secret, {"events": [event(2)]}).status_code == 200

    def test_only_post(self, client: Client) -> None:
        answer = client.get(URL)
        assert (answer.status_code, answer["Allow"]) == (405, "POST")


class TestSecret:
    def test_the_command_makes_and_removes_it(self) -> None:
        instance_row(2)
        out, err = io.StringIO(), io.StringIO()
        call_command("application_secret", "--rds=2", stdout=out, stderr=err)
        secret = out.getvalue().strip()
        assert len(secret) == 43
        assert "shown only now" in err.getvalue()
        assert send(secret, {"events": [event()]}).status_code == 200
        call_command("application_secret", "--rds=2", stdout=io.StringIO(), stderr=err)
        assert send(secret, {"events": [event()]}).status_code == 401, "the former one ended"
        call_command("application_secret", "--rds=2", "--remove", stderr=err)
        assert not ApplicationSecret.objects.exists()
        assert Activity.objects.filter(action__startswith="application_secret.").count() == 3
        with pytest.raises(UsageError, match="no instance has the id 9"):
            call_command("application_secret", "--rds=9")

    def test_it_is_encrypted_and_bound_to_its_instance(self, secret: str) -> None:
        other = events.make_secret(instance_row(3))
        with connection.cursor() as cursor:
            cursor.execute("SELECT s::text FROM application_secrets AS s")
            assert secret not in str(cursor.fetchall())
        stolen = ApplicationSecret.objects.get(pk=3).secret
        ApplicationSecret.objects.filter(pk=2).update(secret=stolen)
        assert send(other, {"events": [event()]}).status_code == 401
