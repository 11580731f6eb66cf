"""The known state of each admin's ghost user on each instance."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from common.fields import RedactedTextField
from tenants.models.instance import RdsInstance


class GhostState(models.TextChoices):
    ACTIVE = "active"
    INACTIVE = "inactive"
    ABSENT = "absent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


GONE = (GhostState.INACTIVE, GhostState.ABSENT)


class GhostUser(models.Model):
    """The ghost user of one admin on one instance.

    The admin is named by value, so that the row outlives the admin's deletion.
    """

    admin_id = models.BigIntegerField()
    instance = models.ForeignKey(RdsInstance, on_delete=models.PROTECT, related_name="ghosts")
    remote_id = models.TextField(null=True)  # noqa: DJ001 (unknown is null)
    wanted = models.CharField(
        max_length=8,
        choices=[(s.value, s.label) for s in (GhostState.ACTIVE, GhostState.INACTIVE)],
    )
    confirmed = models.CharField(
        max_length=8, choices=GhostState.choices, default=GhostState.UNKNOWN
    )
    confirmed_at = models.DateTimeField(null=True)
    last_error = RedactedTextField(blank=True)
    # Database defaults: rows are also written by SQL.
    owed_since = models.DateTimeField(
        null=True,
        help_text="since when it should be gone and is not confirmed to be",
    )
    tried_at = models.DateTimeField(null=True, help_text="when a run was last requested for that")
    tries = models.PositiveIntegerField(default=0, db_default=0)
    held_by = models.BigIntegerField(
        null=True, help_text="the run that held its deactivation for review"
    )

    class Meta:
        db_table = "ghost_users"
        verbose_name = "ghost user"
        ordering: ClassVar = ["admin_id", "instance"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["admin_id", "instance"], name="one_ghost_per_admin_and_instance"
            ),
        ]

    def __str__(self) -> str:
        return f"ghost of admin {self.admin_id} on instance {self.instance_id}"
