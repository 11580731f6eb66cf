"""What services answer for a token, each in its own way, and who renews it when several would."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database

from common.clock import database_now
from common.errors import RainboError
from integrations import oauth, plugin
from integrations.models import Connection
from integrations.plugin import Broken, Later, OAuth2, Plugin, Reconnect, Revocation
from integrations.tokens import Access
from localfleet.services.github import GitHub
from localfleet.services.server import Asked, Reply, Service, running
from tests.integrations.oauth import CLIENT, at_server, expired, granted


class Scripted(Service):
    """Answers what it is given, one after another."""

    def answer(self, asked: Asked) -> Reply:
        raise AssertionError(f"asked too often: {asked.path}")


class Example(Plugin):
    """A service that doesn't exist, with each service's way to give tokens in turn."""

    name, title, period = "example", "Example", timedelta(minutes=30)

    def fetch_data(self, *_: Any) -> Iterator[Any]:
        yield from ()


@pytest.fixture
def server(loopback: None) -> Iterator[Service]:
    with running(Scripted()) as found:
        yield found


def example(server: Service, settings: Any, **fields: Any) -> Plugin:
    settings.RAINBO_OAUTH_CLIENT_SECRETS = {"example": CLIENT}
    known: dict[str, Any] = {"authorize": f"{server.url}/authorize", "token": f"{server.url}/token"}
    kind = type("It", (Example,), {"auth": OAuth2(**known, **fields), "base_url": server.url})
    made: Plugin = kind()
    return made


def test_a_token_inside_of_a_part_of_the_answer(server: Service, settings: Any) -> None:
    """Slack has a user's token in `authed_user` for a code, and at the top for a refresh token."""
    service = example(server, settings, within="authed_user", scope_separator=",")
    user = {"id": "U1", "scope": "a:read,b:read", "access_token": "xoxp-1", "expires_in": 43200}
    whole = {"ok": True, "access_token": "xoxb-bot", "team": {"id": "T1"}}
    server.faults = [
        Reply(200, whole | {"authed_user": user | {"refresh_token": "xoxe-1"}}),
        Reply(200, {"ok": True, "access_token": "xoxp-2", "refresh_token": "xoxe-2"}),
    ]
    grant = oauth.exchange(service, "code", "https://console.example/", "verifier")
    assert (grant.token, grant.refresh_token) == ("xoxp-1", "xoxe-1")
    assert grant.scopes == frozenset({"a:read", "b:read"})
    assert grant.lifetime == timedelta(hours=12)
    assert grant.answer["team"] == {"id": "T1"}
    assert "xox" not in str(grant.answer) + repr(grant), "nothing secret is handed on or printed"
    assert oauth.refresh(service, "xoxe-1").token == "xoxp-2"


def test_an_app_that_proves_itself_by_basic_and_sends_json(server: Service, settings: Any) -> None:
    """As Notion wants it, who says of no token when it expires."""
    service = example(server, settings, client_authentication="basic", encoding="json")
    server.faults = [Reply(200, {"access_token": "ntn_1", "refresh_token": None})]
    grant = oauth.exchange(service, "code", "https://console.example/", "verifier")
    assert (grant.lifetime, grant.refresh_token, grant.scopes) == (None, None, None)
    (asked,) = server.asked
    assert asked.headers["authorization"].startswith("Basic ")
    assert asked.headers["content-type"] == "application/json"
    assert CLIENT[1] not in str(asked.form)
    assert asked.form["grant_type"] == "authorization_code"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(400, {"error": "invalid_grant"}), Reconnect),
        (Reply(200, {"ok": False, "error": "invalid_refresh_token"}), Reconnect),
        (Reply(401, {"error": "invalid_client"}), Broken),
        (Reply(400, {"error": "unsupported_grant_type"}), Broken),
        (Reply(400, {"error": {"message": "odd"}}), Broken),
        (Reply(400, "<html>"), Broken),
        (Reply(403, {}), Broken),
        (Reply(500, {"error": "invalid_grant"}), Broken),
        (Reply(503, "busy"), Broken),
        (Reply(200, {}), Broken),
        (Reply(429, {}, {"Retry-After": "7"}), Later),
        (Reply(200, {"ok": False, "error": "ratelimited"}), Later),
    ],
)
def test_only_a_rejected_grant_needs_a_person(
    reply: Reply, kind: type[RainboError], server: Service, settings: Any
) -> None:
    service = example(server, settings, rejected=frozenset({"invalid_refresh_token"}))
    server.faults = [reply]
    with pytest.raises(RainboError) as caught:
        oauth.refresh(service, "refresh-1")
    assert type(caught.value) is kind
    assert not any(secret in str(caught.value) for secret in ("refresh-1", CLIENT[1]))
    if isinstance(caught.value, Later):
        assert caught.value.seconds == (7 if reply.headers else 60)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((3600, 3600), ("3600", 3600), (59.5, 59.5), (10**30, 10**9)),
        *((0, None), (-5, None), (True, None), (None, None), ("soon", None), ("nan", None)),
        *(([1], None), ("inf", 10**9)),
    ],
)
def test_how_long_a_token_lives_is_read_whatever_it_is(
    value: Any, seconds: float | None, server: Service, settings: Any
) -> None:
    server.faults = [Reply(200, {"access_token": "t", "expires_in": value})]
    lives = oauth.refresh(example(server, settings), "r").lifetime
    assert (lives and min(lives.total_seconds(), 3.2e8)) == (seconds and min(seconds, 3.1536e8))


def test_a_service_that_is_asked_by_the_token_itself_to_withdraw(
    server: Service, settings: Any
) -> None:
    """As Slack is; its errors come with status 200."""
    how = Revocation(f"{server.url}/auth.revoke", token="", over=frozenset({"token_revoked"}))
    service = example(server, settings, revoke=how)
    server.faults = [
        Reply(200, {"ok": True, "revoked": True}),
        Reply(200, {"ok": False, "error": "token_revoked"}),
        Reply(200, {"ok": False, "error": "internal_error"}),
    ]
    assert oauth.revoke(service, "xoxp-1") is True
    assert oauth.revoke(service, "xoxp-1") is False
    with pytest.raises(Broken, match="internal_error"):
        oauth.revoke(service, "xoxp-1")
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer xoxp-1"}


@pytest.mark.django_db(transaction=True)
def test_of_several_processes_one_renews_and_the_others_use_its_pair(hub: GitHub) -> None:
    """A refresh token is good once."""
    hub.apps.lives = 28_800.0
    with at_server("github", hub):
        row = expired(granted("github", hub.url, hub.apps.grant("client-1", ("repo",))))
        service = plugin.find("github")
        ready, found = threading.Barrier(4), list[str]()
        hub.latency = 0.05

        def use() -> None:
            access = Access(Connection.objects.get(pk=row.pk), service, database_now)
            ready.wait()
            found.append(access.headers()["Authorization"])

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(hub.asked) == 1
    assert len(found) == 4
    assert len(set(found)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_new_pair_is_committed_before_its_first_use(hub: GitHub) -> None:
    hub.apps.lives = 28_800.0
    with at_server("github", hub):
        row = expired(granted("github", hub.url, hub.apps.grant("client-1", ("repo",))))
        token = Access(row, plugin.find("github"), database_now).headers()["Authorization"]
        database.close()  # as if the process ended here
        stored = Connection.objects.get(pk=row.pk).reveal_credentials()
    assert token == f"Bearer {stored['token']}"
    assert stored["refresh_token"] in hub.apps.refresh


@pytest.mark.django_db(transaction=True)
def test_what_was_connected_again_meanwhile_is_not_overwritten(hub: GitHub) -> None:
    hub.apps.lives = 28_800.0
    with at_server("github", hub):
        row = expired(granted("github", hub.url, hub.apps.grant("client-1", ("repo",))))
        access = Access(row, plugin.find("github"), database_now)
        Connection.objects.get(pk=row.pk).reconnect({"token": "newer"})
        with pytest.raises(Broken, match="connected again"):
            access.headers()
    assert Connection.objects.get(pk=row.pk).reveal_credentials() == {"token": "newer"}
