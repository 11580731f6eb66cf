"""Re-encrypts all stored secrets with the newest key; nothing has to be stopped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import InvalidToken
from django.db import connection
from django.db.models import QuerySet

from common import encryption


@dataclass(frozen=True)
class Rotation:
    """How many secrets were re-encrypted, and the rows whose secret no key decrypts."""

    renewed: int
    lost: tuple[str, ...]


_fields: list[tuple[Any, str]] = []


def register(model: Any, field: str) -> None:
    """Register an encrypted field for rotation; registering it again does no harm."""
    if (model, field) not in _fields:
        _fields.append((model, field))


def has_tables() -> bool:
    """Whether `migrate` has made the tables of all of them."""
    return {model._meta.db_table for model, _ in _fields} <= {
        *connection.introspection.table_names()
    }


def keys_in_use() -> Counter[int | None]:
    """Count the stored secrets by the place of their key, 0 for the newest; None: no key fits."""
    return Counter(
        encryption.key_of(encrypted)
        for model, field in _fields
        for encrypted in model.objects.values_list(field, flat=True).iterator()
        if encrypted is not None
    )


def rotate_all() -> Rotation:
    """Re-encrypt the secrets of all registered fields."""
    renewed, lost = 0, []
    for model, field in _fields:
        for pk in model.objects.order_by("pk").values_list("pk", flat=True):
            rows = model.objects.filter(pk=pk)
            try:
                renewed += _rotate(rows, field)
            except InvalidToken:
                lost.append(str(rows.get()))
    return Rotation(renewed, tuple(lost))


def _rotate(rows: QuerySet[Any], field: str) -> bool:
    """Rotate one row; a secret that is changed meanwhile is kept and rotated next.

    Raises InvalidToken if no key decrypts it. Returns False if the row was deleted meanwhile.
    """
    while (stored := rows.values_list(field, flat=True).first()) is not None:
        encrypted = encryption.rotate(stored)
        if rows.filter(**{field: stored}).update(**{field: encrypted}):
            return True
    return False
