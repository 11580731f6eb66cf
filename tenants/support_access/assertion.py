"""The assertion that lets a ghost user into one tenant: signed by RAINBO, verified by applications.

Pure: keys and times are given. docs/support-access.md is the protocol; `verify` is how an
application has to check it, and the measure of those in other languages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "EdDSA"
TYPE = "rainbo-support+jwt"
VALID = timedelta(seconds=60)
EARLY = timedelta(seconds=5)  # that the application's clock may be behind
LEEWAY = timedelta(seconds=5)
LONGEST = 8 * 1024  # characters of an assertion
SHORTEST_SESSION, USUAL_SESSION, LONGEST_SESSION = 60, 1800, 3600  # seconds
SHORTEST_REASON, LONGEST_REASON, LONGEST_TICKET = 10, 500, 100  # characters

_HEADER = frozenset({"alg", "typ", "kid"})
_CLAIMS: Mapping[str, type] = {
    "iss": str,
    "aud": str,
    "sub": str,
    "act": dict,
    "tenant": str,
    "reason": str,
    "ticket": str,
    "read_only": bool,
    "session_seconds": int,
    "jti": str,
    "iat": int,
    "nbf": int,
    "exp": int,
}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Refused(Exception):
    """An assertion that lets nobody in; the text is for the application's log."""


@dataclass(frozen=True)
class SigningKey:
    """kid: its thumbprint (RFC 7638), by which applications find the public key."""

    kid: str
    private: Ed25519PrivateKey


@dataclass(frozen=True)
class Assertion:
    """Who is let into which tenant, why, and for how long.

    issuer: RAINBO's address. ghost_id, tenant_id: as the instance's database names them.
    person_id, person: the RAINBO user's id and name. session_seconds: from the redemption on.
    """

    issuer: str
    instance_id: int
    ghost_id: str
    person_id: int
    person: str
    tenant_id: str
    reason: str
    ticket: str
    read_only: bool
    session_seconds: int
    jti: UUID


def audience(instance_id: int) -> str:
    return f"instance:{instance_id}"


def sign(assertion: Assertion, key: SigningKey, at: datetime) -> str:
    """Return the assertion as the form carries it, valid for 60 s from this moment on."""
    import jwt  # here and below: loaded by who signs or verifies

    issued = int(at.timestamp())
    claims = {
        "iss": assertion.issuer,
        "aud": audience(assertion.instance_id),
        "sub": assertion.ghost_id,
        "act": {"sub": str(assertion.person_id), "name": assertion.person},
        "tenant": assertion.tenant_id,
        "reason": assertion.reason,
        "ticket": assertion.ticket,
        "read_only": assertion.read_only,
        "session_seconds": assertion.session_seconds,
        "jti": str(assertion.jti),
        "iat": issued,
        "nbf": issued - int(EARLY.total_seconds()),
        "exp": issued + int(VALID.total_seconds()),
    }
    headers = {"typ": TYPE, "kid": key.kid}
    return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers=headers)


def verify(
    token: str, keys: Mapping[str, Ed25519PublicKey], issuer: str, instance_id: int, now: datetime
) -> Assertion:
    """Return what an assertion says. Raises Refused; redeeming it comes after this.

    keys: the public keys by their ids. issuer, instance_id: which RAINBO and which instance the
    application trusts and is.
    """
    import jwt

    if len(token) > LONGEST:
        raise Refused("too long")
    key = _key(token, keys)
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=audience(instance_id),
            issuer=issuer,
            options={
                "require": [*_CLAIMS],
                "strict_aud": True,
                "verify_exp": False,  # the times are checked below, by the time that is given
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.PyJWTError as error:
        raise Refused(f"{type(error).__name__}: {error}") from None
    _check_types(claims)
    _check_times(claims, now)
    return _assertion(claims, instance_id)


def _key(token: str, keys: Mapping[str, Ed25519PublicKey]) -> Ed25519PublicKey:
    """By the header, of which nothing else is believed."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise Refused("not a signed token") from None
    if header.get("alg") != ALGORITHM or header.get("typ") != TYPE or header.keys() != _HEADER:
        raise Refused("another header than RAINBO writes")
    if header["kid"] not in keys:
        raise Refused("signed by an unknown key")
    return keys[header["kid"]]


def _check_types(claims: dict[str, Any]) -> None:
    for name, kind in _CLAIMS.items():
        if type(claims[name]) is not kind:
            raise Refused(f"the claim {name} is not of its type")
    act = claims["act"]
    if not (act.keys() == {"sub", "name"} and all(type(value) is str for value in act.values())):
        raise Refused("the claim act does not say who it is")
    if not re.fullmatch("[1-9][0-9]{0,17}", act["sub"]) or not act["name"]:
        raise Refused("the claim act does not say who it is")
    if not _UUID.fullmatch(claims["jti"]):
        raise Refused("the claim jti is no UUID")
    if not claims["sub"] or not claims["tenant"]:
        raise Refused("no ghost user or no tenant")
    bounds = {
        "reason": (SHORTEST_REASON, LONGEST_REASON, len(claims["reason"])),
        "ticket": (0, LONGEST_TICKET, len(claims["ticket"])),
        "session_seconds": (SHORTEST_SESSION, LONGEST_SESSION, claims["session_seconds"]),
    }
    for name, (least, most, found) in bounds.items():
        if not least <= found <= most:
            raise Refused(f"the claim {name} is out of bounds")


def _check_times(claims: dict[str, Any], now: datetime) -> None:
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    if claims["exp"] - claims["iat"] > VALID.total_seconds():
        raise Refused("valid for longer than RAINBO makes any")
    if at < claims["nbf"] - leeway:
        raise Refused("not valid yet: compare the clock of this server with RAINBO's")
    if at > claims["exp"] + leeway:
        raise Refused("expired: it is valid for 60 s; or compare the clocks")


def _assertion(claims: dict[str, Any], instance_id: int) -> Assertion:
    return Assertion(
        issuer=claims["iss"],
        instance_id=instance_id,
        ghost_id=claims["sub"],
        person_id=int(claims["act"]["sub"]),
        person=claims["act"]["name"],
        tenant_id=claims["tenant"],
        reason=claims["reason"],
        ticket=claims["ticket"],
        read_only=claims["read_only"],
        session_seconds=claims["session_seconds"],
        jti=UUID(claims["jti"]),
    )
