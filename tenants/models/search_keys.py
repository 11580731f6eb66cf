"""By which version of PostgreSQL the keys were made that e-mails and names are found by."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class SearchKeys(models.Model):
    """One row: the version of RAINBO's own database that keys and indexes were last made by."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    server_major = models.PositiveSmallIntegerField()
    made_at = models.DateTimeField()

    class Meta:
        db_table = "search_keys"
        default_permissions = ()
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="one_row_of_search_keys"),
        ]

    def __str__(self) -> str:
        return f"made by PostgreSQL {self.server_major}"
