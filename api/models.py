"""The tokens that programs use, and what keeps their requests apart."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class ApiToken(models.Model):
    """A program's token: who it is, what it may do, and the digest of its secret.

    The secret itself is nowhere: SHA-256 of 256 random bits can't be turned around.
    """

    name = models.CharField(max_length=100, help_text="the program that uses it")
    public_id = models.CharField(max_length=12, unique=True, editable=False)
    secret_hash = models.BinaryField(max_length=32)
    previous_hash = models.BinaryField(max_length=32, null=True)
    previous_until = models.DateTimeField(
        null=True, editable=False, help_text="until when the secret before the rotation is valid"
    )
    scopes = ArrayField(models.CharField(max_length=32))
    expires_at = models.DateTimeField("expires", null=True, blank=True, help_text="empty: never")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=150, editable=False)
    rotated_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    last_used_from = models.GenericIPAddressField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        db_table = "api_tokens"
        verbose_name = "API token"
        ordering: ClassVar = ["name"]
        default_permissions = ("view", "add", "change")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"],
                condition=models.Q(revoked_at=None),
                name="one_valid_token_per_name",
            ),
        ]

    def __str__(self) -> str:
        return f"token {self.name} (rbo_{self.public_id})"

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class KeyedRequest(models.Model):
    """A request with an Idempotency-Key: repeated, it gets the run that the first one got."""

    caller = models.CharField(max_length=150)
    key = models.CharField(max_length=255)
    request_hash = models.BinaryField(max_length=32)
    run_id = models.BigIntegerField(help_text="by value: runs are pruned")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "api_keyed_requests"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["caller", "key"], name="one_request_per_key"),
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="keyed_requests_by_age")]

    def __str__(self) -> str:
        return f"{self.caller}: {self.key}"


class Refusals(models.Model):
    """How many requests of one address were refused in one minute, for want of a valid token."""

    address = models.CharField(max_length=45)
    minute = models.DateTimeField()
    count = models.IntegerField()

    class Meta:
        db_table = "api_refusals"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["address", "minute"], name="one_count_per_minute"),
        ]
        indexes: ClassVar = [models.Index(fields=["minute"], name="refusals_by_minute")]

    def __str__(self) -> str:
        return f"{self.address} at {self.minute:%H:%M}: {self.count}"
