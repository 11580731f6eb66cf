"""The keys that sign assertions: the next is published before it signs, old ones stay for a day.

Which key signs follows from `signs_from` alone: nothing has to happen at that moment. The private
parts are encrypted like passwords.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import connection, transaction

from common import manage_command
from common.encryption import CredentialError, decrypt, encrypt
from common.errors import RainboError, UsageError
from tenants.models import SupportKey
from tenants.support_access.assertion import ALGORITHM, SigningKey

LEAD = timedelta(minutes=15)  # that a key is published before it signs; applications cache 5
KEPT = timedelta(days=1)  # that a key is published after the next one signs
_LOCK = "LOCK TABLE support_keys IN SHARE ROW EXCLUSIVE MODE"


class KeyLost(RainboError):
    """The key that signs can't be decrypted."""

    kind = "credential"


class KeyState(StrEnum):
    NEXT = "next"
    CURRENT = "current"
    OLD = "old"
    GONE = "no longer published"


@dataclass(frozen=True)
class StoredKey:
    """until: until when an old key is published."""

    key: SupportKey
    state: KeyState
    until: datetime | None = None

    @property
    def is_published(self) -> bool:
        return self.state is not KeyState.GONE

    @property
    def jwk(self) -> dict[str, str]:
        shared = {"kty": "OKP", "crv": "Ed25519", "alg": ALGORITHM, "use": "sig"}
        return {**shared, "kid": self.key.kid, "x": self.key.public}


def read(now: datetime) -> list[StoredKey]:
    """Return all stored keys in the order in which they sign."""
    return judge(list(SupportKey.objects.all()), now)


def judge(keys: list[SupportKey], now: datetime) -> list[StoredKey]:
    """Pure. keys: in the order in which they sign."""
    found = []
    for number, key in enumerate(keys):
        later = [other for other in keys[number + 1 :] if not other.withdrawn_at]
        successor = next(iter(later), None)
        until = successor.signs_from + KEPT if successor else None
        if key.withdrawn_at or (until is not None and until <= now):
            found.append(StoredKey(key, KeyState.GONE))
        elif key.signs_from > now:
            found.append(StoredKey(key, KeyState.NEXT))
        elif successor is not None and successor.signs_from <= now:
            found.append(StoredKey(key, KeyState.OLD, until))
        else:
            found.append(StoredKey(key, KeyState.CURRENT))
    return found


def document(now: datetime) -> dict[str, Any]:
    """Return the public keys as a JWK set (RFC 7517)."""
    return {"keys": [one.jwk for one in read(now) if one.is_published]}


def ensure(now: datetime) -> SupportKey:
    """Return the key that signs; the first one is made here.

    No application can know the first one yet, so it signs at once: they ask for unknown keys.
    """
    return _current(now) or _first(now)


def signing_key(now: datetime) -> SigningKey:
    """Return the key that signs now. Raises KeyLost."""
    key = ensure(now)
    try:
        secret = decrypt(key.secret, key.binding, str(key))
    except CredentialError as error:
        rotate_line = manage_command.line("support_keys rotate --at-once")
        raise KeyLost(
            "the key that signs support access can't be decrypted: bring its key back into "
            f"RAINBO_CREDENTIAL_KEYS, or make another one ({rotate_line})"
        ) from error
    return SigningKey(key.kid, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)))


def rotate(now: datetime, *, at_once: bool = False) -> SupportKey:
    """Publish the next key, which signs after LEAD; return it.

    at_once: for a key that is lost or stolen: the new one signs at once and the others are
    withdrawn. Raises UsageError while a next key is published already.
    """
    with transaction.atomic():
        _lock()
        _forget(now)
        stored = read(now)
        if at_once:
            SupportKey.objects.filter(withdrawn_at=None).update(withdrawn_at=now)
            return _make(now, now)
        waiting = next((one.key for one in stored if one.state is KeyState.NEXT), None)
        if waiting is not None:
            raise UsageError(
                f"the next key {waiting.kid} is published already and signs from "
                f"{waiting.signs_from:%Y-%m-%d %H:%M:%S} UTC on"
            )
        is_first = not any(one.state is KeyState.CURRENT for one in stored)
        return _make(now, now if is_first else now + LEAD)


def thumbprint(public: str) -> str:
    """Return the key's id (RFC 7638). public: x of its JWK."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": public}
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return _base64(hashlib.sha256(text.encode()).digest())


def _current(now: datetime) -> SupportKey | None:
    return next((one.key for one in read(now) if one.state is KeyState.CURRENT), None)


def _first(now: datetime) -> SupportKey:
    with transaction.atomic():
        _lock()
        return _current(now) or _make(now, now)


def _make(now: datetime, signs_from: datetime) -> SupportKey:
    private = Ed25519PrivateKey.generate()
    public = _base64(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    key = SupportKey(kid=thumbprint(public), public=public, made_at=now, signs_from=signs_from)
    key.secret = encrypt(private.private_bytes_raw().hex(), key.binding)
    key.save(force_insert=True)
    return key


def _forget(now: datetime) -> None:
    """Delete the keys that are no longer published for as long as they were kept before."""
    gone = [
        one.key.pk
        for one in read(now - KEPT)
        if one.state is KeyState.GONE
        and (one.key.withdrawn_at is None or one.key.withdrawn_at < now - KEPT)
    ]
    SupportKey.objects.filter(pk__in=gone).delete()


def _lock() -> None:
    """One process makes a key at a time; readers don't wait."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK)


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
