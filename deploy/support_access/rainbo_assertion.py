"""Verifies the assertions by which RAINBO lets support in: copy it next to rainbo_support.py.

It needs PyJWT (pip install "pyjwt[crypto]>=2.10"), and no framework. Redeeming comes after it.
"""

from __future__ import annotations

import json
import logging
import re
import time
import urllib.request
from pathlib import Path
from threading import Lock
from typing import Any

import jwt

log = logging.getLogger("rainbo_support")
ALGORITHMS = ["EdDSA", "Ed25519"]  # two names of one, RFC 9864
TEXTS = ("iss", "aud", "sub", "tenant", "reason", "ticket", "jti")
NUMBERS = ("session_seconds", "iat", "nbf", "exp")
TYPES = {**dict.fromkeys(TEXTS, str), **dict.fromkeys(NUMBERS, int), "act": dict, "read_only": bool}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
JWS = jwt.PyJWS(algorithms=["EdDSA"])
JWS.register_algorithm("Ed25519", jwt.algorithms.OKPAlgorithm())


class Refused(Exception):
    """Nobody is let in. Its text is for the log."""


class Unavailable(Exception):
    """RAINBO's keys can't be had now."""


class Keys:
    """RAINBO's public keys: of a file, or fetched and kept for five minutes."""

    def __init__(self, place: str) -> None:
        self.place, self.lock, self.is_file = place, Lock(), not re.match("https?://", place)
        self.known: dict[str, Any] = {}
        self.fetched = self.tried = float("-inf")
        if re.match(r"http://(?!(localhost|127\.0\.0\.1|\[::1\])[:/])", place):
            raise ValueError("RAINBO's keys: fetch them with https")

    def find(self, kid: object) -> Any:
        """Return the public key, None if there is none. Raises Unavailable."""
        with self.lock:
            now = time.monotonic()
            fresh = now - self.fetched < 300 and not self.is_file
            waited = self.is_file or now - self.tried >= (60 if fresh else 5)
            if waited and not (fresh and kid in self.known):
                self.tried = now if fresh else self.tried  # an unknown key
                try:
                    self.known, self.fetched, fresh = self.read(), now, True
                except (OSError, ValueError, TypeError, KeyError, jwt.PyJWTError) as error:
                    log.error("RAINBO's keys (%s) could not be read: %s", self.place, error)
                    self.tried = now
            if not fresh:
                raise Unavailable("RAINBO's keys")
            return self.known.get(str(kid))

    def read(self) -> dict[str, Any]:
        if self.is_file:
            text = Path(self.place).read_bytes()
        else:
            with urllib.request.urlopen(self.place, timeout=5) as answer:  # noqa: S310 (checked above)
                text = answer.read(65_536) if answer.url == self.place else b"redirected"
        keys = [jwk for jwk in json.loads(text)["keys"] if jwk.get("crv") == "Ed25519"]
        return {jwk["kid"]: jwt.PyJWK(jwk, algorithm="EdDSA").key for jwk in keys}


def verify(token: str, keys: Keys, issuer: str, instance: int, now: float) -> dict[str, Any]:
    """Return the claims of an assertion that is right. Raises Refused, Unavailable."""
    try:
        header = jwt.get_unverified_header(token[:8193])
        if len(token) > 8192 or header.keys() != {"alg", "typ", "kid"}:
            raise Refused("another header than RAINBO writes")
        if header["typ"] != "rainbo-support+jwt" or header["alg"] not in ALGORITHMS:
            raise Refused("another type or algorithm than RAINBO's")
        if (key := keys.find(header["kid"])) is None:
            raise Refused("an unknown key")
        claims = dict(json.loads(JWS.decode(token, key, algorithms=ALGORITHMS)))
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise Refused(f"not signed by RAINBO: {type(error).__name__}") from None
    wrong = [name for name, kind in TYPES.items() if type(claims.get(name)) is not kind]
    if wrong or {type(claims["act"].get(name)) for name in ("sub", "name")} != {str}:
        raise Refused(f"claims are missing or of another type: {wrong or 'act'}")
    if (claims["iss"], claims["aud"]) != (issuer, f"instance:{instance}"):
        raise Refused(f"of {claims['iss']}, for {claims['aud']}: see issuer and instance")
    lengths = 10 <= len(claims["reason"]) <= 500 and len(claims["ticket"]) <= 100
    if not (lengths and UUID.fullmatch(claims["jti"]) and claims["sub"] and claims["tenant"]):
        raise Refused("a claim is out of bounds")
    if not 60 <= claims["session_seconds"] <= 3600 or claims["exp"] - claims["iat"] > 60:
        raise Refused("valid for longer than RAINBO makes any")
    if not claims["nbf"] - 5 <= now <= claims["exp"] + 5:
        raise Refused("expired or not valid yet: compare this server's clock with RAINBO's")
    return claims
