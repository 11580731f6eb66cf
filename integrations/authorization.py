"""Connects an account by OAuth 2: a person is sent to the service, and comes back with a code.

The state that comes back is good once, for ten minutes, for the same person in the same session
and for the same service, each of which has an address of its own to return to. That address is
RAINBO's by its settings, whatever a request says. What the service granted is stored only if it
is all that was asked for, and of the account that was connected before.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from authlib.common.security import generate_token
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.urls import reverse

from common.clock import database_now
from common.errors import UsageError
from integrations import oauth, registration, tokens
from integrations.models import AuthorizationRequest, Connection
from integrations.oauth import Client, Grant
from integrations.plugin import Account, OAuth2, Plugin, Reconnect
from integrations.source import Source

LIVES = timedelta(minutes=10)
LONGEST = 4096  # characters of a parameter that comes back
AGAIN = "begin again"
# Errors of RFC 6749, 4.1.2.1 and of services, as far as a person can do something about them.
BUSY = frozenset({"server_error", "temporarily_unavailable"})
_TAKE = """
    DELETE FROM integrations_authorizationrequest WHERE state_digest = %s RETURNING *"""


@dataclass(frozen=True)
class NewConnection:
    """What a person wants the connection to be. minutes: None: as often as the service suggests."""

    name: str
    minutes: int | None = None
    is_shared: bool = False


@dataclass(frozen=True)
class Granted:
    """What a service granted, before it is stored."""

    request: AuthorizationRequest
    service: Plugin
    client: Client
    grant: Grant
    account: Account


def why_not(service: Plugin) -> str:
    """Why nobody can connect an account of this service by OAuth 2; empty if one can."""
    if not isinstance(service.auth, OAuth2):
        return f"{service.title} is connected by a token or a password"
    name = f"RAINBO_{service.name.upper()}_CLIENT_ID"
    if oauth.client_of(service) is None:
        return f"no app is registered at {service.title}: {name} and its secret are not set"
    if not settings.RAINBO_CONSOLE_URL:
        return "RAINBO_CONSOLE_URL is not set: services send people back to that address"
    return ""


def return_address(service: Plugin) -> str:
    """Return where the service sends people back to, as it has to be registered there."""
    path = reverse("admin:integrations_connection_callback", args=[service.name])
    return f"{settings.RAINBO_CONSOLE_URL.rstrip('/')}{path}"


def begin(service: Plugin, user: User, session_key: str, wanted: NewConnection | Connection) -> str:
    """Return the address at the service to send the person to.

    wanted: a new connection, or one of theirs that is connected again. Raises UsageError.
    """
    if why := why_not(service):
        raise UsageError(why)
    auth, client = oauth.auth_of(service), oauth.needed_client(service)
    state, verifier = generate_token(43), generate_token(64)
    row = AuthorizationRequest(
        state_digest=_digest(state),
        service=service.name,
        user=user,
        session_digest=_digest(session_key),
        expires_at=database_now() + LIVES,
    )
    if isinstance(wanted, Connection):
        if wanted.owner_id != user.pk:
            raise UsageError("only its owner can sign in to it again")
        row.connection = wanted
    else:
        row.name = registration.check_name(user, service.name, wanted.name)
        row.minutes = registration.check_minutes(wanted.minutes)
        row.is_shared = wanted.is_shared
    row.set_verifier(verifier)
    with transaction.atomic():
        AuthorizationRequest.objects.filter(expires_at__lte=database_now()).delete()
        row.save(force_insert=True)
    return oauth.address(auth, client, return_address(service), state, verifier)


def receive(
    service: Plugin, user: User, session_key: str, parameters: Mapping[str, str]
) -> Granted:
    """Return what the service granted to a person who comes back with these parameters.

    Raises UsageError if they may not or would not; Reconnect, Later, Broken as `oauth.exchange`.
    """
    request = _take(service, user, session_key, parameters.get("state", ""))
    if "error" in parameters:
        raise UsageError(_refusal(service, parameters["error"]))
    code = parameters.get("code", "")
    if not 0 < len(code) <= LONGEST:
        raise UsageError(f"{service.title} sent no code: {AGAIN}")
    client = oauth.needed_client(service)
    try:
        grant = oauth.exchange(service, code, return_address(service), request.reveal_verifier())
        _check_grant(service, grant)
        with _source(service, grant) as source:
            account = service.identify(source, grant.answer)
    except Reconnect as error:  # the code is of no use
        raise UsageError(f"{error}: {AGAIN}") from None
    if not account.id or len(account.id) > 255:
        raise UsageError(f"{service.title} did not say whose account it is: {AGAIN}")
    return Granted(request, service, client, grant, account)


def store(granted: Granted) -> tuple[Connection, bool]:
    """Store what was granted; return the connection, and whether it is a new one.

    In the caller's transaction. Raises UsageError for an account that can't be this one's.
    """
    request, service, account = granted.request, granted.service, granted.account
    credentials = tokens.credentials_of(granted.grant, granted.client, database_now())
    same = Connection.objects.filter(
        owner=request.user, service=service.name, base_url=service.base_url, account_id=account.id
    )
    other = same.first()
    if other is not None and other.pk != request.connection_id:
        raise UsageError(f"{account.name} is connected already, as {other.name}")
    facts: dict[str, Any] = {
        "account": account.name[:255],
        "account_id": account.id,
        "scopes": sorted(granted.grant.scopes or ()),
    }
    if request.connection is not None:
        return _connect_again(request.connection, account, credentials, facts), False
    row = Connection(
        service=service.name,
        name=registration.check_name(request.user, service.name, request.name),
        owner=request.user,
        base_url=service.base_url,
        update_frequency_minutes=request.minutes or registration.usual_minutes(service),
        is_shared=request.is_shared,
        **facts,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:  # by another request at the same moment
        raise UsageError("this account, or this name, was connected meanwhile") from None
    row.set_credentials(credentials)
    row.save(update_fields=["credentials"])
    return row, True


def _connect_again(
    known: Connection,
    account: Account,
    credentials: Mapping[str, str],
    facts: Mapping[str, Any],
) -> Connection:
    rows = Connection.objects.select_for_update(no_key=True, of=("self",))
    row = rows.filter(pk=known.pk).first()
    if row is None:
        raise UsageError("the connection was deleted meanwhile")
    is_other = row.account_id and row.account_id != account.id
    if is_other or (not row.account_id and row.account not in ("", account.name)):
        raise UsageError(
            f"you signed in as {account.name}, and this connection is of {row.account}: sign in "
            "there as that account, or add a connection for this one"
        )
    row.reconnect(credentials)
    for name, value in facts.items():
        setattr(row, name, value)
    row.save(update_fields=list(facts))
    return row


def _take(service: Plugin, user: User, session_key: str, state: str) -> AuthorizationRequest:
    """Use up the request of this state. Raises UsageError unless it is this person's."""
    wrong = UsageError(
        f"this way back from {service.title} is not valid: it was used, is older than ten minutes, "
        f"or began in another session; {AGAIN}"
    )
    digest = _digest(state[:LONGEST])
    row = next(iter(AuthorizationRequest.objects.raw(_TAKE, [digest])), None)
    if row is None or row.expires_at <= database_now():
        raise wrong
    is_theirs = row.user_id == user.pk and row.service == service.name
    if not is_theirs or not hmac.compare_digest(row.session_digest, _digest(session_key)):
        raise wrong
    return row


def _refusal(service: Plugin, error: str) -> str:
    title, code = service.title, error[:100]
    if code == "access_denied":
        return f"you declined at {title}: nothing was changed"
    if code in BUSY:
        return f"{title} is not available now: {AGAIN} later"
    if code == "invalid_scope":
        return f"{title} doesn't know what RAINBO asked for, or the app may not have it"
    return (
        f"{title} sent you back with the error {oauth.shown(code)}: check how the app is "
        "registered there"
    )


def _check_grant(service: Plugin, grant: Grant) -> None:
    """A person can allow less than was asked for, and a service grant it for an hour alone."""
    if grant.lifetime is not None and grant.refresh_token is None:
        raise UsageError(f"{service.title} granted the access without a way to renew it: {AGAIN}")
    if grant.scopes is None:
        return
    asked = oauth.auth_of(service).scopes
    if missing := [scope for scope in asked if scope not in grant.scopes]:
        names = ", ".join(missing)
        raise UsageError(
            f"{service.title} granted less than RAINBO needs: {names} is not allowed; {AGAIN}, "
            "and allow all that is asked for"
        )


def _source(service: Plugin, grant: Grant) -> Source:
    headers = {"Authorization": f"{service.auth.prefix}{grant.token}"}
    return Source(service, service.base_url, lambda: headers, database_now)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
