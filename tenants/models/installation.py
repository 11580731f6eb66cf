"""Which RAINBO this is, so that ghost users of another one are left alone."""

from __future__ import annotations

from typing import ClassVar
from uuid import uuid4

from django.db import models
from django.db.models import Q


class Installation(models.Model):
    """One row: the random key that this installation marks its ghost users with."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    key = models.CharField(max_length=32)

    class Meta:
        db_table = "installation"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="one_installation"),
        ]

    def __str__(self) -> str:
        return self.key


def installation_id() -> str:
    """The key of this installation, made at first use."""
    return Installation.objects.get_or_create(pk=1, defaults={"key": uuid4().hex})[0].key
