"""What applications report of support sessions, through RAINBO's real door."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from tenants.models import ApplicationEvent, SupportSession
from tenants.support_access import events
from tests.deploy.support_access.applications import (
    LANGUAGES,
    SHIPPED,
    Application,
    Given,
    running,
)
from tests.deploy.support_access.tokens import KeySet
from tests.http_servers import Receiver, receiver
from tests.instances import InstanceFleet
from tests.pages import text_of
from tests.rows import instance_row, staff, support_session

ODD = "Depot „Ä“\u202e\x07 " + "💡" * 600


@pytest.fixture
def there(fleet: InstanceFleet) -> Iterator[InstanceFleet]:
    fleet[2].execute((SHIPPED / "support_sessions.sql").read_text())
    fleet[2].add_tenant(42, "Acme")
    ghost = {"is_ghost_admin": True, "rainbo_admin_id": "5", "rainbo_installation": "here"}
    fleet[2].add_user(17, None, "ghost5@system.internal", **ghost)
    yield fleet
    fleet[2].execute("DROP TABLE IF EXISTS rainbo_support_sessions")


@pytest.fixture
def keyset() -> Iterator[KeySet]:
    with receiver() as published:
        yield KeySet(published)


def given_for(there: InstanceFleet, keyset: KeySet, folder: Path, issuer: str, key: str) -> Given:
    place = keyset.receiver.url("/.well-known/jwks.json")
    return Given(there[2].server, place, folder, issuer=issuer, event_secret=key)


def enter(application: Application, token: str) -> str:
    answer = application.enter(token)
    assert (answer.status, bool(answer.cookie)) == (303, True), answer
    return answer.cookie


def until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_done_in_a_session_is_in_its_trail(
    language: str,
    there: InstanceFleet,
    keyset: KeySet,
    live_server: LiveServer,
    tmp_path: Path,
    client: Client,
) -> None:
    secret = events.make_secret(instance_row(2))
    row: SupportSession = support_session(instance_id=2)
    with running(language, given_for(there, keyset, tmp_path, live_server.url, secret)) as (app,):
        token = keyset.sign(issuer=live_server.url, jti=row.jti, read_only=False)
        cookie = enter(app, token)
        assert app.get("/tenants/42/?q=private", cookie).status == 200
        assert app.add_location("42", cookie).status == 302
        assert app.get("/account/password", cookie).status == 403
        found = ApplicationEvent.objects.filter(session=row.jti, instance_id=2)
        until(lambda: found.count() == 4)
        log = app.log.read_text(errors="replace")
    assert {(one.action, one.text) for one in found} == {
        ("request.get", "200 /tenants/42/"),
        ("location.added", "Depot"),
        ("request.post", "302 /tenants/42/locations"),
        ("blocked.get", "403 /account/password"),
    }
    assert {(one.tenant_id, one.user_id) for one in found} == {("42", "17")}
    assert secret not in log
    assert "private" not in str(list(found.values())), "a query is not reported"
    client.force_login(staff(is_superuser=True))
    page = text_of(client.get(f"/admin/tenants/supportsession/{row.pk}/change/"))
    assert re.search(r"location\.added 17 Depot", page), page


def batches(door: Receiver) -> list[list[dict[str, str]]]:
    return [json.loads(one.body)["events"] for one in door.received]


@pytest.mark.parametrize("language", LANGUAGES)
def test_events_wait_while_rainbo_takes_none_and_no_request_waits_for_it(
    language: str, there: InstanceFleet, keyset: KeySet, tmp_path: Path
) -> None:
    with receiver() as door:
        door.reply(503, b"")
        issuer = door.url("").rstrip("/")
        with running(language, given_for(there, keyset, tmp_path, issuer, "s" * 40)) as (app,):
            cookie = enter(app, keyset.sign(issuer=issuer))
            assert app.get("/tenants/42/", cookie).status == 200
            until(lambda: len(door.received) == 1)
            begin = time.monotonic()
            for _ in range(24):
                assert app.get("/tenants.json", cookie).status in (200, 404)
            assert time.monotonic() - begin < 5
            assert len(door.received) < 4, "it is not asked at each request"
            door.reply(200, b"{}")
            seen: set[str] = set()

            def all_came() -> bool:
                if language == "php":
                    app.get("/tenants.json", cookie)
                seen.update(event["id"] for batch in batches(door)[1:] for event in batch)
                return len(seen) >= 25

            until(all_came, 40)
    first, *rest = batches(door)
    assert first[0]["id"] in {event["id"] for event in rest[-1] + rest[0]}
    assert max(len(batch) for batch in rest) == 20
    for one in door.received:
        at = one.headers["x-rainbo-timestamp"]
        assert one.headers["x-rainbo-signature"] == f"v1={events.sign('s' * 40, at, one.body)}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_rainbo_rejects_is_not_sent_again_and_nothing_is_followed(
    language: str, there: InstanceFleet, keyset: KeySet, tmp_path: Path
) -> None:
    with receiver() as door, receiver() as other:
        issuer = door.url("").rstrip("/")
        with running(language, given_for(there, keyset, tmp_path, issuer, "s" * 40)) as (app,):
            cookie = enter(app, keyset.sign(issuer=issuer))
            for number, status in enumerate((422, 401, 307, 200), 1):
                door.reply(status, b"", location=other.url())
                assert app.get(f"/tenants/42/?{number}", cookie).status == 200
                until(lambda number=number: len(door.received) >= number)  # type: ignore[misc]
                time.sleep(0.3)
        assert other.received == []
    sent = [event["id"] for batch in batches(door) for event in batch]
    assert len(sent) == len(set(sent)) == 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_an_event_says_the_door_takes_it(
    language: str, there: InstanceFleet, keyset: KeySet, tmp_path: Path
) -> None:
    """Twenty of the longest at once, too."""
    with receiver() as door:
        door.reply(200, b"{}")
        issuer = door.url("").rstrip("/")
        with running(language, given_for(there, keyset, tmp_path, issuer, "s" * 40)) as (app,):
            cookie = enter(app, keyset.sign(issuer=issuer, read_only=False))
            csrf = "c" * 32
            name = ODD[:98] if language == "django" else ODD
            body = urlencode({"name": name, "csrfmiddlewaretoken": csrf})
            sent = f"{cookie}; application_csrf={csrf}"
            for _ in range(22):
                assert app.send("POST", "/tenants/42/locations", sent, body).status == 302
                app.get(f"/x/{quote(ODD[:320])}", cookie)
            until(lambda: sum(len(batch) for batch in batches(door)) == 66)
    for one in door.received:
        assert len(one.body) <= 64 * 1024
        assert events.parse(json.loads(one.body), timezone.now())
    texts = [event["text"] for batch in batches(door) for event in batch]
    assert any("Depot „Ä“" in text for text in texts)
    assert any("/x/Depot" in text for text in texts)


def test_every_file_that_is_copied_is_short() -> None:
    lengths = {file.name: len(file.read_text().splitlines()) for file in SHIPPED.glob("rainbo_*")}
    assert len(lengths) >= 9
    assert {name: length for name, length in lengths.items() if length >= 200} == {}
