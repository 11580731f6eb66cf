"""Assertions as RAINBO signs them, and as somebody would who wants to get in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenants.support_access import assertion, keys
from tenants.support_access.assertion import Assertion, SigningKey
from tests.deploy.support_access.applications import ISSUER
from tests.http_servers import Receiver

Claims = dict[str, Any]
EVIL = '<script>alert("&")</script>'


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(document: object) -> str:
    return encoded(json.dumps(document).encode())


class KeySet:
    """Keys that RAINBO publishes at a receiver's address, the first of which signs."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.rotate()

    def rotate(self, *, keep: bool = False) -> None:
        """Sign with another key; the former one stays published if it is kept."""
        private = Ed25519PrivateKey.generate()
        public = encoded(private.public_key().public_bytes_raw())
        jwk = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": public}
        self.public = private.public_key().public_bytes_raw()
        self.key = SigningKey(keys.thumbprint(public), private)
        kept = self.document["keys"] if keep else []
        self.document: dict[str, Any] = {"keys": [jwk | {"kid": self.key.kid}, *kept]}
        self.receiver.reply(200, json.dumps(self.document).encode())

    def sign(self, seconds_ago: float = 0, **changes: Any) -> str:
        """As RAINBO does, through its own function."""
        given: dict[str, Any] = {
            "issuer": ISSUER,
            "instance_id": 2,
            "ghost_id": "17",
            "person_id": 5,
            "person": f"ann {EVIL}",
            "tenant_id": "42",
            "reason": f"Invoice 118 shows no VAT {EVIL}",
            "ticket": "",
            "read_only": True,
            "session_seconds": 1800,
            "jti": uuid.uuid4(),
        }
        at = datetime.fromtimestamp(time.time() - seconds_ago, UTC)
        return assertion.sign(Assertion(**(given | changes)), self.key, at)

    def sign_claims(self, claims: object, **header: Any) -> str:
        """With the right key, whatever the claims and the header are."""
        named = {"alg": "EdDSA", "typ": assertion.TYPE, "kid": self.key.kid} | header
        kept = {name: value for name, value in named.items() if value is not None}
        signed = f"{part(kept)}.{part(claims)}"
        return f"{signed}.{encoded(self.key.private.sign(signed.encode()))}"

    def claims(self) -> Claims:
        """Of a right assertion."""
        body = self.sign().split(".")[1]
        found: Claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        return found


def attempts(keyset: KeySet) -> Iterator[tuple[str, str]]:
    """What is to be refused, by what it is: each but for that is as RAINBO signs it."""
    yield "for another instance", keyset.sign(instance_id=3)
    yield "of another RAINBO", keyset.sign(issuer="https://rainbo.example.net")
    yield "66 seconds old", keyset.sign(seconds_ago=66)
    yield "this clock is two minutes ahead", keyset.sign(seconds_ago=120)
    yield "this clock is two minutes behind", keyset.sign(seconds_ago=-120)
    yield "another ghost user", keyset.sign(ghost_id="18")
    yield "a user who is no ghost", keyset.sign(ghost_id="19")
    yield "another person's ghost user", keyset.sign(person_id=6)
    yield "a tenant that is not there", keyset.sign(tenant_id="999")
    yield from _altered(keyset)
    yield from _headers(keyset)
    yield from _claims(keyset)
    yield from _no_tokens(keyset)


def _altered(keyset: KeySet) -> Iterator[tuple[str, str]]:
    """Signed by RAINBO and altered after that."""
    changes: Mapping[str, Any] = {
        "tenant": "43",
        "sub": "20",
        "read_only": False,
        "session_seconds": 3600,
        "jti": str(uuid.uuid4()),
        "exp": int(time.time()) + 50,
        "act": {"sub": "6", "name": "bob"},
        "aud": "instance:2",
        "reason": "Another reason than was given",
    }
    for name, value in changes.items():
        head, _, signature = keyset.sign().split(".")
        yield f"altered: {name}", f"{head}.{part(keyset.claims() | {name: value})}.{signature}"
    head, body, signature = keyset.sign().split(".")
    yield "another signature", f"{head}.{body}.{keyset.sign().split('.')[2]}"
    yield "half a signature", f"{head}.{body}.{signature[:43]}"


def _headers(keyset: KeySet) -> Iterator[tuple[str, str]]:
    claims = keyset.claims()
    yield "an unknown key", keyset.sign_claims(claims, kid="of-nobody")
    yield "the key's id is no text", keyset.sign_claims(claims, kid=["a"])
    yield "another type", keyset.sign_claims(claims, typ="JWT")
    yield "no type", keyset.sign_claims(claims, typ=None)
    yield "no key id", keyset.sign_claims(claims, kid=None)
    for algorithm in ("none", "None", "", "ES256", "RS256", "eddsa", ["EdDSA"], None, 1):
        yield f"algorithm {algorithm!r}", keyset.sign_claims(claims, alg=algorithm)
    yield "a critical header", keyset.sign_claims(claims, crit=["b64"], b64=True)
    own = Ed25519PrivateKey.generate()
    public = encoded(own.public_key().public_bytes_raw())
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": public}
    for name, value in {"jwk": jwk, "jku": "https://evil.example/", "x5u": "x"}.items():
        header = {"alg": "EdDSA", "typ": assertion.TYPE, "kid": keyset.key.kid, name: value}
        signed = f"{part(header)}.{part(claims)}"
        yield f"a key of its own: {name}", f"{signed}.{encoded(own.sign(signed.encode()))}"
    header = {"alg": "EdDSA", "typ": assertion.TYPE, "kid": keyset.key.kid}
    signed = f"{part(header)}.{part(claims)}"
    yield "signed by another key", f"{signed}.{encoded(own.sign(signed.encode()))}"
    yield "unsigned", f"{part(header | {'alg': 'none'})}.{part(claims)}."
    for secret in (keyset.public, encoded(keyset.public).encode()):
        signed = f"{part(header | {'alg': 'HS256'})}.{part(claims)}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        yield "symmetric, with the public key", f"{signed}.{encoded(mac)}"


def _claims(keyset: KeySet) -> Iterator[tuple[str, str]]:
    """Signed with the right key, as RAINBO never does."""
    claims = keyset.claims()
    for name in claims:
        rest = {key: value for key, value in claims.items() if key != name}
        yield f"without {name}", keyset.sign_claims(rest)
        for value in (None, [claims[name]], {"a": 1}):
            changed = claims | {name: value}
            yield f"{name} is {type(value).__name__}", keyset.sign_claims(changed)
    wrong: Mapping[str, Any] = {
        "aud": ["instance:2"],
        "sub": 17,
        "tenant": 42,
        "read_only": "false",
        "session_seconds": True,
        "reason": "too short",
        "ticket": "x" * 101,
        "jti": claims["jti"].upper() if claims["jti"].upper() != claims["jti"] else "A",
        "exp": claims["iat"] + 61,
        "iat": claims["iat"] - 1,
        "act": {"sub": 5, "name": "ann"},
    }
    for name, value in wrong.items():
        yield f"{name} is {value!r}", keyset.sign_claims(claims | {name: value})
    bounds: Mapping[str, Any] = {
        "reason": "x" * 501,
        "session_seconds": 3601,
        "jti": "x",
        "sub": "",
    }
    for name, value in bounds.items():
        yield f"{name} is out of bounds", keyset.sign_claims(claims | {name: value})
    yield "less than a minute", keyset.sign_claims(claims | {"session_seconds": 59})
    yield "an act without a name", keyset.sign_claims(claims | {"act": {"sub": "5"}})
    yield "a UUID and a line's end", keyset.sign_claims(claims | {"jti": claims["jti"] + "\n"})
    others: tuple[Any, ...] = ([], None, "text", 1, [claims])
    for other in others:
        yield f"claims that are {other!r:.20}", keyset.sign_claims(other)


def _no_tokens(keyset: KeySet) -> Iterator[tuple[str, str]]:
    right = keyset.sign()
    yield "empty", ""
    yield "one part", "x"
    yield "two parts", ".".join(right.split(".")[:2])
    yield "four parts", f"{right}.x"
    yield "a space in front", f" {right}"
    yield "no base64", "!.!.!"
    yield "no JSON", ".".join(encoded(b"\xff\x00{") for _ in range(3))
    yield "a header that is null", f"{part(None)}.{part({})}.{encoded(bytes(64))}"
    yield "deep", f"{encoded(b'[' * 3000)}.x.x"
    yield "longer than 8 KiB", keyset.sign_claims(keyset.claims() | {"more": "x" * 8192})
