"""Services with OAuth 2 whose addresses are those of a local server, and what they granted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from django.test import override_settings
from django.utils import timezone

from integrations import plugin
from integrations.models import Connection
from integrations.plugin import OAuth2
from localfleet.services.server import Service
from tests.integrations.rows import connection

CLIENT = ("client-1", "client-secret-1")
CONSOLE = "https://console.example"


@contextmanager
def at_server(name: str, server: Service) -> Iterator[OAuth2]:
    """Let a service be where this server is; an app is registered there."""
    service = plugin.find(name)
    auth = service.auth
    assert isinstance(auth, OAuth2)
    revoke = auth.revoke and replace(auth.revoke, url=moved(auth.revoke.url, server))
    local = replace(
        auth,
        authorize=moved(auth.authorize, server),
        token=moved(auth.token, server),
        revoke=revoke,
    )
    base = moved(service.base_url, server).rstrip("/")
    clients = {name: CLIENT}
    with (
        patch.object(type(service), "auth", local),
        patch.object(type(service), "base_url", base),
        override_settings(RAINBO_OAUTH_CLIENT_SECRETS=clients, RAINBO_CONSOLE_URL=CONSOLE),
    ):
        yield local


def moved(url: str, server: Service) -> str:
    return f"{server.url}{urlsplit(url).path}"


def credentials(pair: dict[str, Any]) -> dict[str, str]:
    """What is stored of a pair of tokens that is not yet due."""
    known = {"token": pair["access_token"], "client_id": CLIENT[0]}
    if "refresh_token" in pair:
        known["refresh_token"] = pair["refresh_token"]
    if "expires_in" in pair:
        known["until"] = datetime(2100, 1, 1, tzinfo=UTC).isoformat()
    return known


def granted(service: str, base_url: str, pair: dict[str, Any], **fields: Any) -> Connection:
    """A connection by OAuth 2."""
    row = connection(base_url, service=service, **fields)
    row.set_credentials(credentials(pair))
    row.save(update_fields=["credentials"])
    return row


def expired(row: Connection) -> Connection:
    """Its access token is due."""
    row.refresh_from_db()
    past = (timezone.now() - timedelta(seconds=1)).isoformat()
    row.set_credentials(row.reveal_credentials() | {"until": past})
    row.save(update_fields=["credentials"])
    return row
