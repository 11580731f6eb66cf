"""OAuth 2 as services speak it: the address a person is sent to, codes and tokens, withdrawal.

Authlib makes what is specified; what leaves goes through `common.http`, and answers are read here,
since services differ in them. Nothing is stored here. Only what a service says about the grant
itself means that a person has to connect again: an app that it doesn't know, or a service that is
down, is no fault of theirs.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlencode

from django.conf import settings

from common import http
from common.errors import RainboError
from common.http import Answer, HttpError, Limits
from integrations.plugin import Broken, Later, OAuth2, Plugin, Reconnect

LIMITS = Limits(total=10.0, size=1_000_000)  # a person waits for it, and a row may be locked
USUAL_WAIT = 60.0  # seconds
LONGEST_LIFE = timedelta(days=3650)
SEVERAL = re.compile(r"[\s,]+")
# The grant is void. All others are of the app, of the request, or of the service.
REJECTED = frozenset({"invalid_grant"})
APP = frozenset({"invalid_client", "unauthorized_client", "invalid_client_id", "bad_client_secret"})
APP_WORDS = ("client", "redirect_uri", "app")
SECRETS = ("access_token", "refresh_token", "id_token")


@dataclass(frozen=True)
class Client:
    """An app that was registered at a service."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Grant:
    """What a service answered for a code or a refresh token.

    refresh_token: None if there is none in the answer. lifetime: None if the service doesn't say.
    scopes: None if it doesn't say. answer: all of it, without secrets.
    """

    token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    lifetime: timedelta | None
    scopes: frozenset[str] | None
    answer: Mapping[str, Any]


def client_of(service: Plugin) -> Client | None:
    """The app that is registered at this service; None if the settings name none."""
    found = settings.RAINBO_OAUTH_CLIENT_SECRETS.get(service.name)
    return Client(*found) if found else None


def needed_client(service: Plugin) -> Client:
    """Raises Broken if the settings name no app of this service."""
    if (client := client_of(service)) is None:
        name = f"RAINBO_{service.name.upper()}_CLIENT_ID"
        raise Broken(f"no app of {service.title} is set: {name} and its secret are missing")
    return client


def address(auth: OAuth2, client: Client, redirect: str, state: str, verifier: str) -> str:
    """Return where a person is sent to allow the access."""
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    scopes = {auth.scope_name: auth.scope_separator.join(auth.scopes)} if auth.scopes else {}
    url: str = prepare_grant_uri(
        auth.authorize,
        client.id,
        "code",
        redirect_uri=redirect,
        state=state,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method="S256",
        **{**auth.parameters, **scopes},
    )
    return url


def exchange(service: Plugin, code: str, redirect: str, verifier: str) -> Grant:
    """Return what a code is worth. Raises Reconnect, Later, Broken."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
    return _ask(service, form | {"code_verifier": verifier})


def refresh(service: Plugin, refresh_token: str) -> Grant:
    """Return another token. Raises Reconnect if the service rejects this one, Later, Broken."""
    return _ask(service, {"grant_type": "refresh_token", "refresh_token": refresh_token})


def revoke(service: Plugin, token: str) -> bool:
    """Have the service forget the grant; return whether it was still valid there.

    Raises Broken, Later if that isn't known.
    """
    auth = auth_of(service)
    how, client = auth.revoke, needed_client(service)
    if how is None:
        raise Broken(f"{service.title} can't be asked to withdraw it")
    fields = {how.token: token} if how.token else {}
    headers = _basic(client) if how.is_authenticated else {}
    if not how.token:
        headers["Authorization"] = f"{auth.prefix}{token}"
    url = how.url.replace("{client_id}", client.id)
    answer = _send(service, how.method, url, fields, headers, how.encoding)
    found = _parsed(answer)
    error = found.get("error")
    if answer.status in how.over or (isinstance(error, str) and error in how.over):
        return False
    if not answer.is_success or error:
        raise _failure(service, answer, error)
    return True


def _ask(service: Plugin, form: dict[str, str]) -> Grant:
    auth, client = auth_of(service), needed_client(service)
    headers = _basic(client) if auth.client_authentication == "basic" else {}
    if auth.client_authentication == "body":
        form = form | {"client_id": client.id, "client_secret": client.secret}
    answer = _send(service, "POST", auth.token, form, headers, auth.encoding)
    if answer.status == 429 or answer.status >= 500:
        raise _failure(service, answer, None)
    found = _parsed(answer)
    if not answer.is_success or "error" in found or not found:
        raise _failure(service, answer, found.get("error"))
    return _grant(service, auth, found)


def _grant(service: Plugin, auth: OAuth2, found: Mapping[str, Any]) -> Grant:
    """A service has the token at the top of its answer, or in a part of it."""
    part = found.get(auth.within) if auth.within else None
    held = part if isinstance(part, dict) and part.get("access_token") else found
    token, following = held.get("access_token"), held.get("refresh_token")
    if not _is_token(token) or not (following is None or following == "" or _is_token(following)):
        raise Broken(f"{service.title} answered without a token that can be used")
    scope = held.get("scope")
    scopes = frozenset(filter(None, SEVERAL.split(scope))) if isinstance(scope, str) else None
    return Grant(
        token=str(token),
        refresh_token=following or None,
        lifetime=_lifetime(held.get("expires_in")),
        scopes=scopes or None,  # an app of GitHub has permissions, and an empty scope
        answer=_without_secrets(found),
    )


def _is_token(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= 8192
        and value.isascii()
        and (value.isprintable() and " " not in value)
    )


def _lifetime(value: object) -> timedelta | None:
    """Seconds, which some services send as text."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    if isinstance(value, bool) or not seconds > 0:
        return None
    return min(timedelta(seconds=min(seconds, 1e9)), LONGEST_LIFE)


def _without_secrets(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_secrets(value) if isinstance(value, dict) else value
        for name, value in found.items()
        if name not in SECRETS
    }


def _send(
    service: Plugin,
    method: str,
    url: str,
    fields: Mapping[str, str],
    headers: Mapping[str, str],
    encoding: Literal["form", "json"],
) -> Answer:
    sent = {**service.headers, "Accept": "application/json", **headers}
    body = None
    if fields:
        is_form = encoding == "form"
        body = (urlencode(fields) if is_form else json.dumps(dict(fields))).encode()
        kind = "application/x-www-form-urlencoded" if is_form else "application/json"
        sent["Content-Type"] = kind
    try:
        return http.send(method, url, body=body, headers=sent, limits=LIMITS)
    except HttpError as error:
        raise Broken(str(error)) from None


def _failure(service: Plugin, answer: Answer, error: object) -> RainboError:
    """What an answer means that holds no token."""
    title, code = service.title, error if isinstance(error, str) else ""
    if code in REJECTED | auth_of(service).rejected:
        return Reconnect(f"{title} no longer accepts what was granted ({shown(code)})")
    if answer.status == 429 or code in ("ratelimited", "slow_down"):
        wait = answer.retry_after.total_seconds() if answer.retry_after else USUAL_WAIT
        return Later(wait, f"{title} asked to wait ({answer.status})")
    if code in APP or any(word in code for word in APP_WORDS):
        name = f"RAINBO_{service.name.upper()}_CLIENT_ID"
        return Broken(
            f"{title} rejects the registered app ({shown(code)}): check {name}, its secret and "
            "the address to return to"
        )
    if code:
        return Broken(f"{title} answered with the error {shown(code)}")
    return Broken(f"{title} answered with status {answer.status}, and no token")


def shown(code: str) -> str:
    """An error's code as a page shows it."""
    return code if re.fullmatch(r"\w[\w .-]{0,59}", code, re.ASCII) else "an unreadable code"


def _basic(client: Client) -> dict[str, str]:
    pair = b64encode(f"{client.id}:{client.secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _parsed(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def auth_of(service: Plugin) -> OAuth2:
    """Raises Broken for a service that is connected in another way."""
    if not isinstance(service.auth, OAuth2):
        raise Broken(f"{service.title} has no OAuth 2")
    return service.auth
