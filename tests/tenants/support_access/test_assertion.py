"""The assertion as an application has to check it; each attempt is harmless and is refused."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tenants.support_access import assertion
from tenants.support_access.assertion import Assertion, Refused, SigningKey

NOW = datetime(2026, 11, 30, 5, 20, tzinfo=UTC)
ISSUER = "https://rainbo.example"
KEY = SigningKey("k1", Ed25519PrivateKey.generate())
KEYS = {"k1": KEY.private.public_key()}
GIVEN = Assertion(
    issuer=ISSUER,
    instance_id=3,
    ghost_id="17",
    person_id=5,
    person="ann",
    tenant_id="42",
    reason="Invoice 118 shows no VAT",
    ticket="SUP-7",
    read_only=True,
    session_seconds=1800,
    jti=UUID("7d0cdd2c-1f2f-4b43-9f6f-0a6a2b1f0c11"),
)
TOKEN = assertion.sign(GIVEN, KEY, NOW)
CLAIMS = jwt.decode(TOKEN, options={"verify_signature": False})
HEADER = jwt.get_unverified_header(TOKEN)


def verify(
    token: str, now: datetime = NOW, instance_id: int = 3, issuer: str = ISSUER
) -> Assertion:
    return assertion.verify(token, KEYS, issuer, instance_id, now)


def part(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed(claims: Any = None, key: Any = KEY.private, **header: Any) -> str:
    """A token signed by RAINBO's own key, as a fault there could make it."""
    head = {name: value for name, value in (HEADER | header).items() if value is not None}
    text = f"{part(head)}.{part(CLAIMS if claims is None else claims)}"
    return f"{text}.{urlsafe_b64encode(key.sign(text.encode())).rstrip(b'=').decode()}"


def test_an_assertion_says_what_was_signed() -> None:
    assert verify(TOKEN) == GIVEN
    assert HEADER == {"alg": "EdDSA", "typ": "rainbo-support+jwt", "kid": "k1"}
    assert {
        "iss": ISSUER,
        "aud": "instance:3",
        "sub": "17",
        "act": {"sub": "5", "name": "ann"},
        "tenant": "42",
        "reason": "Invoice 118 shows no VAT",
        "ticket": "SUP-7",
        "read_only": True,
        "session_seconds": 1800,
        "jti": "7d0cdd2c-1f2f-4b43-9f6f-0a6a2b1f0c11",
        "iat": int(NOW.timestamp()),
        "nbf": int(NOW.timestamp()) - 5,
        "exp": int(NOW.timestamp()) + 60,
    } == CLAIMS
    assert verify(signed()) == GIVEN, "what the attempts below start from is right"


@pytest.mark.parametrize("seconds", [-10, 0, 60, 65])
def test_it_is_valid_for_a_minute_with_little_leeway(seconds: int) -> None:
    assert verify(TOKEN, NOW + timedelta(seconds=seconds)) == GIVEN


@pytest.mark.parametrize(
    ("seconds", "why"),
    [(66, "expired"), (120, "expired"), (86_400, "expired"), (-11, "not valid"), (-120, "clock")],
)
def test_a_clock_that_differs_refuses(seconds: int, why: str) -> None:
    with pytest.raises(Refused, match=why):
        verify(TOKEN, NOW + timedelta(seconds=seconds))


def test_another_instance_or_issuer_refuses() -> None:
    with pytest.raises(Refused, match="Audience"):
        verify(TOKEN, instance_id=2)
    with pytest.raises(Refused, match="Issuer"):
        verify(TOKEN, issuer="https://rainbo.example.evil")


def altered(**claims: Any) -> str:
    """Its signature kept, its claims not."""
    head, _, signature = TOKEN.split(".")
    return f"{head}.{part(CLAIMS | claims)}.{signature}"


@pytest.mark.parametrize(
    "claims",
    [
        {"tenant": "43"},
        {"aud": "instance:2"},
        {"sub": "1"},
        {"act": {"sub": "1", "name": "root"}},
        {"read_only": False},
        {"session_seconds": 3600},
        {"jti": "7d0cdd2c-1f2f-4b43-9f6f-0a6a2b1f0c12"},
        {"exp": CLAIMS["exp"] + 3600},
        {"reason": "Something else entirely"},
    ],
)
def test_altered_claims_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="InvalidSignature"):
        verify(altered(**claims), instance_id=2 if "aud" in claims else 3)


def hmac_with_public_key() -> str:
    """The confusion of algorithms: the public key, which all know, as the secret of an HMAC."""
    public = KEY.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return jwt.encode(
        CLAIMS, public, algorithm="HS256", headers={"typ": HEADER["typ"], "kid": "k1"}
    )


def by_other_key() -> str:
    return signed(key=Ed25519PrivateKey.generate())


FORGED: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "no token": lambda: "abc",
    "four parts": lambda: f"{TOKEN}.x",
    "without signature": lambda: TOKEN.rpartition(".")[0] + ".",
    "alg none": lambda: f"{part(HEADER | {'alg': 'none'})}.{part(CLAIMS)}.",
    "symmetric": hmac_with_public_key,
    "another algorithm": lambda: signed(alg="ES256"),
    "another key": by_other_key,
    "unknown kid": lambda: signed(kid="k2"),
    "no kid": lambda: signed(kid=None),
    "kid is a path": lambda: signed(kid="../../dev/null"),
    "another type": lambda: signed(typ="JWT"),
    "its own key": lambda: signed(jwk={"kty": "OKP"}),
    "an address of keys": lambda: signed(jku="https://evil.example/jwks.json"),
    "critical": lambda: signed(crit=["b64"], b64=False),
    "no object": lambda: signed(["a"]),
    "too long": lambda: TOKEN + "A" * 9000,
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tokens_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        verify(FORGED[name]())


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["instance:3"]},
        {"aud": ["instance:3", "instance:2"]},
        {"sub": 17},
        {"sub": ""},
        {"act": "ann"},
        {"act": {"sub": "5"}},
        {"act": {"sub": "5", "name": "ann", "act": {}}},
        {"act": {"sub": "0", "name": "ann"}},
        {"tenant": 42},
        {"tenant": ""},
        {"reason": "too short"},
        {"reason": "x" * 501},
        {"ticket": None},
        {"ticket": "x" * 101},
        {"read_only": "false"},
        {"read_only": 0},
        {"session_seconds": 3601},
        {"session_seconds": 59},
        {"session_seconds": True},
        {"session_seconds": 1800.0},
        {"jti": "7D0CDD2C-1F2F-4B43-9F6F-0A6A2B1F0C11"},
        {"jti": "1"},
        {"iat": "now"},
        {"exp": CLAIMS["iat"] + 61},
        *({name: "MISSING"} for name in CLAIMS),
    ],
    ids=str,
)
def test_what_breaks_the_protocol_is_refused_although_it_is_signed(claims: dict[str, Any]) -> None:
    found = {k: v for k, v in (CLAIMS | claims).items() if v != "MISSING"}
    with pytest.raises(Refused):
        verify(signed(found))


def test_any_flipped_character_is_refused() -> None:
    """Of header, claims and signature; bits of the last one count nothing in base64."""
    for at in range(0, len(TOKEN) - 1, 7):
        other = "A" if TOKEN[at] != "A" else "B"
        with pytest.raises(Refused):
            verify(f"{TOKEN[:at]}{other}{TOKEN[at + 1 :]}")


def test_it_fits_a_form_field_with_the_longest_values() -> None:
    most = replace(GIVEN, reason="ü" * 500, ticket="ü" * 100, person="ü" * 150)
    token = assertion.sign(most, KEY, NOW)
    assert len(token) < assertion.LONGEST
    assert verify(token) == most
    assert json.loads(urlsafe_b64decode(token.split(".")[0] + "=="))["kid"] == "k1"
