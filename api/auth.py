"""Who makes a request, by `Authorization: Bearer` alone: no cookie counts here (RFC 6750)."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest
from ninja.security.base import AuthBase

from activity.address import address_of
from api import refusals, tokens
from api.problems import Problem
from api.tokens import Also, Caller

REALM = 'Bearer realm="rainbo"'


class Scoped(AuthBase):
    """Admits requests whose token has a scope."""

    openapi_type: str = "http"
    openapi_scheme: str = "bearer"

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> Caller:
        """Return the caller. Raises Problem 401, 403 or 429."""
        return authorize(request, self.scope, also=self.also(request))

    def also(self, _: HttpRequest) -> Also | None:
        """Return what is read in the statement that reads the token; its row comes with it."""
        return None


def authorize(
    request: HttpRequest, scope: str, *, is_cron: bool = False, also: Also | None = None
) -> Caller:
    """Return who makes the request, if they may. Raises Problem 401, 403 or 429.

    is_cron: whether the token of RAINBO_CRON_SECRET is admitted, too.
    """
    caller = authenticate(request, also)
    if caller.pk is None and not is_cron:
        raise Problem(
            403,
            "The token of RAINBO_CRON_SECRET is for the addresses of cron services alone: "
            "make a token with api_token create.",
            headers=_insufficient(scope),
        )
    if scope not in caller.scopes:
        raise Problem(403, f"This token has no scope {scope}.", headers=_insufficient(scope))
    return caller


def authenticate(request: HttpRequest, also: Also | None = None) -> Caller:
    """Return who makes the request. Raises Problem 401, or 429 after too many of these."""
    kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
    address = address_of(request)
    is_given = kind.lower() == "bearer" and bool(bearer.strip())
    caller = tokens.caller_of(bearer.strip(), address, also) if is_given else None
    if caller is not None:
        return caller
    wait = refusals.count(address) if is_given else None
    if wait is not None:
        raise Problem(
            429,
            f"Too many requests with a wrong token came from this address: wait {wait} seconds.",
            headers={"Retry-After": str(wait)},
        )
    if is_given:
        detail = "This is no valid token: wrong, expired or revoked."
        raise Problem(401, detail, headers={"WWW-Authenticate": f'{REALM}, error="invalid_token"'})
    raise Problem(
        401,
        "Send a token in the header Authorization, after the word Bearer; "
        "manage.py api_token create makes one.",
        headers={"WWW-Authenticate": REALM},
    )


def caller_of(request: HttpRequest) -> Caller:
    """Return the caller that a view's `Scoped` admitted."""
    return cast("Caller", cast("Any", request).auth)


def _insufficient(scope: str) -> dict[str, str]:
    return {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'}
