"""SCRAM keys of RAINBO's roles on servers, kept so that a visit needs no password hashing."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from common.encryption import EncryptedField


class ScramKeys(models.Model):
    """The keys that a role's password gave at a server; they are as secret as the password.

    Instances that are databases of one server share them. keys: null where the server rejected
    them within a day, so that none are derived until that day is over. at: when they were derived.
    """

    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField()
    user = models.CharField(max_length=63)
    keys = EncryptedField(null=True, editable=False)
    at = models.DateTimeField()

    class Meta:
        db_table = "scram_keys"
        default_permissions = ()
        verbose_name = verbose_name_plural = "SCRAM keys"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["host", "port", "user"], name="scram_keys_of_one_role_and_server"
            ),
        ]

    def __str__(self) -> str:
        return f"SCRAM keys of {self.user} at {self.host}:{self.port}"
