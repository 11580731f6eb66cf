"""Seals every stored password anew under the newest key, while everything runs."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.fernet import InvalidToken

from tenants import credentials
from tenants.models import RdsInstance


@dataclass(frozen=True)
class Rotation:
    """How many rows were sealed anew, and the instances whose password no key opens."""

    renewed: int
    lost: tuple[str, ...]


def rotate_all() -> Rotation:
    renewed, lost = 0, []
    for pk in RdsInstance.objects.order_by("pk").values_list("pk", flat=True):
        try:
            renewed += _rotate(pk)
        except InvalidToken:
            lost.append(str(RdsInstance.objects.get(pk=pk)))
    return Rotation(renewed, tuple(lost))


def _rotate(pk: int) -> bool:
    """Rotate one row; a password that somebody changes meanwhile stays, and is rotated then.

    Raises InvalidToken when no key opens it. False when the instance was deleted meanwhile.
    """
    rows = RdsInstance.objects.filter(pk=pk)
    while (row := rows.only("password").first()) is not None:
        sealed = credentials.rotate(row.password)
        if rows.filter(password=row.password).update(password=sealed):
            return True
    return False
