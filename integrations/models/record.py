"""What was fetched, and what changed of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from integrations.models.connection import Connection


class ExternalRecord(models.Model):
    """One thing at a service, as it was last read. A row is written only when it changed.

    hash: of its content, so that what did not change is recognized. gone_at: since when the
    service no longer has it.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="records")
    kind = models.CharField(max_length=64)
    external_id = models.CharField(max_length=512)
    hash = models.BinaryField(max_length=16)
    body = models.JSONField(default=dict)
    title = models.TextField(blank=True)
    link = models.TextField(blank=True)
    occurred_at = models.DateTimeField(null=True)
    first_seen_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)
    run = models.ForeignKey(
        "syncs.SyncRun",
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )

    class Meta:
        verbose_name = "record"
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["connection", "kind", "external_id"], name="one_record_of_an_id"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["gone_at"], condition=~models.Q(gone_at=None), name="gone_records")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.title or self.external_id}"


class RecordChange(models.Model):
    """A field of a record that its plugin keeps the history of."""

    record = models.ForeignKey(ExternalRecord, on_delete=models.CASCADE, related_name="changes")
    field = models.CharField(max_length=64)
    old = models.JSONField(null=True)
    new = models.JSONField(null=True)
    at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.field} at {self.at:%Y-%m-%d %H:%M}"
