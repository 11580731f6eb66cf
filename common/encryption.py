"""Passwords at rest: encrypted with Fernet, bound to their row and connection settings.

An encrypted password can only be decrypted for the row, host, port, user, CA and authentication
method that it was entered for, and for an ssl mode at least as strong: to point an instance to
another server, you have to know the password.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

from common.errors import RainboError, UsageError


class CredentialError(RainboError):
    """A stored password can't be used."""

    kind = "credential"


@dataclass(frozen=True)
class Binding:
    """What an encrypted password is valid for: a row, its settings, and the weakest ssl mode."""

    row: str
    settings: tuple[str, ...]
    strength: int


class Encrypted:
    """Ciphertext that is never printed by accident."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return "Encrypted(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encrypted) and self.token == other.token

    def __hash__(self) -> int:
        return hash(self.token)


def encrypt(password: str, binding: Binding) -> Encrypted:
    """Encrypt a password. Raises UsageError for one that no server accepts."""
    if "\0" in password or any("\ud800" <= character <= "\udfff" for character in password):
        raise UsageError(
            "the password has a character that no server accepts (NUL, or bytes that are not "
            "UTF-8): enter it as text"
        )
    content = {
        "row": binding.row,
        "settings": binding.settings,
        "strength": binding.strength,
        "password": password,
    }
    return Encrypted(_fernet().encrypt(json.dumps(content).encode()).decode())


def decrypt(encrypted: object, binding: Binding, owner: str) -> str:
    """Decrypt a password; `owner` names the row in errors. Raises CredentialError."""
    if not isinstance(encrypted, Encrypted) or not encrypted.token:
        raise CredentialError(f"{owner} has no password: enter it")
    try:
        content = json.loads(_fernet().decrypt(encrypted.token.encode()))
    except (InvalidToken, ValueError):
        raise CredentialError(
            f"the stored password of {owner} can't be decrypted: it was altered, or its key is "
            "missing from RAINBO_CREDENTIAL_KEYS. Bring the key back or enter the password again"
        ) from None
    if content["row"] != binding.row:
        raise CredentialError(
            f"the stored password of {owner} belongs to another row: enter it again"
        )
    if tuple(content["settings"]) != binding.settings or binding.strength < content["strength"]:
        raise CredentialError(
            f"the stored password of {owner} was entered for other connection settings "
            "(host, port, user, CA, authentication method or a stronger ssl mode): enter it again"
        )
    return str(content["password"])


def key_digests() -> list[str]:
    """What distinguishes the keys, the newest first, and gives away none: they are random."""
    return [
        hashlib.sha256(key.encode()).hexdigest()[:12] for key in settings.RAINBO_CREDENTIAL_KEYS
    ]


def key_of(encrypted: Encrypted) -> int | None:
    """Return the place of the key that decrypts a secret, 0 for the newest; None if none does."""
    for place, key in enumerate(settings.RAINBO_CREDENTIAL_KEYS):
        try:
            _fernet_of((key,)).decrypt(encrypted.token.encode())
        except InvalidToken:
            continue
        return place
    return None


def encrypt_json(values: Mapping[str, Any], binding: Binding) -> Encrypted:
    """Encrypt several secrets together. Raises UsageError like `encrypt`."""
    return encrypt(json.dumps(dict(values), ensure_ascii=False), binding)


def decrypt_json(encrypted: object, binding: Binding, owner: str) -> dict[str, Any]:
    """Decrypt what `encrypt_json` encrypted. Raises CredentialError."""
    values: dict[str, Any] = json.loads(decrypt(encrypted, binding, owner))
    return values


def rotate(encrypted: Encrypted) -> Encrypted:
    """Re-encrypt a secret with the newest key. Raises InvalidToken if no key decrypts it."""
    return Encrypted(_fernet().rotate(encrypted.token.encode()).decode())


class EncryptedField(models.TextField[Any, Any]):
    """Stores an `Encrypted`; rejects anything else, so that no clear text reaches the table."""

    def from_db_value(self, value: str | None, *_: object) -> Encrypted | None:
        return None if value is None else Encrypted(value)

    def to_python(self, value: object) -> Encrypted | None:
        if value is None or isinstance(value, Encrypted):
            return value
        raise TypeError("an EncryptedField takes an Encrypted: use set_password()")

    def get_prep_value(self, value: object) -> str | None:
        encrypted = self.to_python(value)
        return None if encrypted is None else encrypted.token

    def value_to_string(self, _: models.Model) -> str:
        return ""


def _fernet() -> MultiFernet:
    return _fernet_of(tuple(settings.RAINBO_CREDENTIAL_KEYS))


@lru_cache(maxsize=16)
def _fernet_of(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
