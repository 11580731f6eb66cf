"""Seals every stored secret anew under the newest key, while everything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.fernet import InvalidToken
from django.db.models import QuerySet

from common import encryption


@dataclass(frozen=True)
class Rotation:
    """How many rows were sealed anew, and those whose secret no key opens."""

    renewed: int
    lost: tuple[str, ...]


_sealed: list[tuple[Any, str]] = []


def register(model: Any, field: str) -> None:
    """Take part: a room registers each field that it seals. Once more does no harm."""
    if (model, field) not in _sealed:
        _sealed.append((model, field))


def rotate_all() -> Rotation:
    renewed, lost = 0, []
    for model, field in _sealed:
        for pk in model.objects.order_by("pk").values_list("pk", flat=True):
            rows = model.objects.filter(pk=pk)
            try:
                renewed += _rotate(rows, field)
            except InvalidToken:
                lost.append(str(rows.get()))
    return Rotation(renewed, tuple(lost))


def _rotate(rows: QuerySet[Any], field: str) -> bool:
    """Rotate one row; a secret that somebody changes meanwhile stays, and is rotated then.

    Raises InvalidToken when no key opens it. False when the row was deleted meanwhile.
    """
    while (stored := rows.values_list(field, flat=True).first()) is not None:
        sealed = encryption.rotate(stored)
        if rows.filter(**{field: stored}).update(**{field: sealed}):
            return True
    return False
