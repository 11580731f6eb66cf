"""Passwords of instances at rest: sealed with Fernet, bound to their row and their settings.

A sealed password opens only for the row, host, port, user, CA and login method that it was
entered for, and for an ssl mode at least as strong: whoever points an instance somewhere else
must know the password.
"""

from __future__ import annotations

import json
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
    """What a sealed password is good for: a row, its settings, and the weakest ssl mode."""

    row: str
    settings: tuple[str, ...]
    strength: int


class Encrypted:
    """Ciphertext that shows itself to nobody by accident."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return "Sealed(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encrypted) and self.token == other.token

    def __hash__(self) -> int:
        return hash(self.token)


def encrypt(password: str, binding: Binding) -> Encrypted:
    """Raises UsageError for a password that no server takes."""
    if "\0" in password or any("\ud800" <= character <= "\udfff" for character in password):
        raise UsageError(
            "the password has a character that no server takes (NUL, or bytes that are not "
            "UTF-8): enter it as text"
        )
    content = {
        "row": binding.row,
        "settings": binding.settings,
        "strength": binding.strength,
        "password": password,
    }
    return Encrypted(_fernet().encrypt(json.dumps(content).encode()).decode())


def decrypt(sealed: object, binding: Binding, owner: str) -> str:
    """Open a sealed password; `owner` names the row in errors. Raises CredentialError."""
    if not isinstance(sealed, Encrypted) or not sealed.token:
        raise CredentialError(f"{owner} has no password: enter it")
    try:
        content = json.loads(_fernet().decrypt(sealed.token.encode()))
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
            "(host, port, user, CA, login method or a stronger ssl mode): enter it again"
        )
    return str(content["password"])


def rotate(sealed: Encrypted) -> Encrypted:
    """The same secret under the newest key. Raises InvalidToken when no key opens it."""
    return Encrypted(_fernet().rotate(sealed.token.encode()).decode())


class EncryptedField(models.TextField[Any, Any]):
    """Stores a `Sealed`; refuses anything else, so that no clear text can reach the table."""

    def from_db_value(self, value: str | None, *_: object) -> Encrypted | None:
        return None if value is None else Encrypted(value)

    def to_python(self, value: object) -> Encrypted | None:
        if value is None or isinstance(value, Encrypted):
            return value
        raise TypeError("a sealed field takes a Sealed: use set_password()")

    def get_prep_value(self, value: object) -> str | None:
        sealed = self.to_python(value)
        return None if sealed is None else sealed.token

    def value_to_string(self, _: models.Model) -> str:
        return ""


def _fernet() -> MultiFernet:
    return _fernet_of(tuple(settings.RAINBO_CREDENTIAL_KEYS))


@lru_cache(maxsize=4)
def _fernet_of(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
