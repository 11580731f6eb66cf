"""Tenants as the instances reported them, and their history."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Collate

from tenants.models.instance import RdsInstance


class TenantStatus(models.TextChoices):
    ACTIVE = "active"
    TRIAL = "trial"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"


class Tenant(models.Model):
    """A customer, known by its instance and its id there. Only the sync writes it."""

    instance = models.ForeignKey(
        RdsInstance, on_delete=models.PROTECT, related_name="tenants", db_index=False
    )
    remote_id = models.TextField(db_collation="C")
    name = models.TextField()
    contact_name = models.TextField(null=True)  # noqa: DJ001 (unknown is null)
    contact_email = models.TextField(null=True)  # noqa: DJ001
    status = models.TextField()
    trial_ends_at = models.DateTimeField(null=True)
    subscription_started_at = models.DateTimeField(null=True)
    user_count = models.BigIntegerField(null=True, help_text="active, ghosts left out")
    location_count = models.BigIntegerField(null=True)
    last_activity_at = models.DateTimeField(null=True)
    cache_refreshed_at = models.DateTimeField()
    vanished_at = models.DateTimeField(null=True, help_text="when the source no longer had it")

    class Meta:
        db_table = "tenant_master"
        ordering: ClassVar = ["instance", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["instance", "remote_id"], name="one_tenant_per_id"),
        ]
        # tenants_by_word, which serves the search, is in a migration.
        indexes: ClassVar = [
            models.Index(fields=["instance", "id"], name="tenants_of_instance"),
            models.Index(fields=["status", "instance", "trial_ends_at"], name="tenants_by_status"),
            models.Index(
                fields=["instance"],
                condition=models.Q(vanished_at__isnull=False),
                name="tenants_vanished",
            ),
            models.Index(
                Collate(models.Func("name", function="rainbo_name_key"), "C"),
                "id",
                name="tenants_by_name",
            ),
            models.Index(fields=["trial_ends_at", "id"], name="tenants_by_trial_end"),
            models.Index(
                models.F("last_activity_at").desc(nulls_last=True),
                models.F("id").desc(),
                name="tenants_by_activity",
            ),
            models.Index(
                models.F("user_count").desc(nulls_last=True),
                models.F("id").desc(),
                name="tenants_by_users",
            ),
        ]
        permissions: ClassVar = [("export_tenant", "Can export tenants with their contacts")]

    def __str__(self) -> str:
        return f"{self.name} (tenant {self.remote_id} on instance {self.instance_id})"


class TenantDailyCount(models.Model):
    """A tenant's counts after the last sync of a day."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="daily_counts")
    day = models.DateField()
    user_count = models.BigIntegerField(null=True)
    location_count = models.BigIntegerField(null=True)

    class Meta:
        db_table = "tenant_daily_counts"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "day"], name="one_count_a_day"),
        ]

    def __str__(self) -> str:
        return f"{self.day}"


class TenantChange(models.Model):
    class Kind(models.TextChoices):
        STATUS = "status"
        NAME = "name"
        VANISHED = "vanished"
        BACK = "back"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    before = models.TextField(blank=True)
    after = models.TextField(blank=True)
    at = models.DateTimeField()
    run_id = models.BigIntegerField(help_text="by value: runs are pruned")

    class Meta:
        db_table = "tenant_changes"
        ordering: ClassVar = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M}"
