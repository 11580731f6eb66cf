"""The e-mail directory: one route per account of the master's directory."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Collate


class UserRoute(models.Model):
    """One e-mail's account in one tenant. Only the sync writes it.

    Instance and tenant are stored by value, as the directory names them, so that nothing is
    lost if a route arrives before its tenant. SQL readers use user_email_routing_cache.
    """

    source_id = models.TextField(primary_key=True, db_collation="C")
    email = models.TextField()
    email_key = models.TextField(db_collation="C")
    remote_instance_id = models.TextField(db_collation="C")
    on_master = models.BooleanField(help_text="the directory names no instance: the master's own")
    remote_tenant_id = models.TextField(db_collation="C")
    remote_user_id = models.TextField(db_collation="C")
    user_name = models.TextField(null=True)  # noqa: DJ001 (unknown is null)
    status = models.TextField(null=True)  # noqa: DJ001
    source_updated_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()
    withheld_reason = models.TextField(null=True)  # noqa: DJ001

    class Meta:
        db_table = "user_routes"
        verbose_name = "route"
        ordering: ClassVar = ["email_key", "source_id"]
        indexes: ClassVar = [
            models.Index(fields=["email_key", "source_id"], name="routes_by_email"),
            models.Index(
                fields=["remote_instance_id", "remote_tenant_id"], name="routes_by_tenant"
            ),
            models.Index(
                fields=["email_key", "source_id"],
                condition=Q(withheld_reason__isnull=False),
                name="routes_withheld",
            ),
            # For the beginning of a person's name: see tenants/find/search.py. routes_by_word, for
            # its other words, is in a migration.
            models.Index(
                Collate(models.Func("user_name", function="rainbo_name_key"), "C"),
                name="routes_by_name",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} in tenant {self.remote_tenant_id}"


class RouteRemoval(models.Model):
    """A route that a sync removed: the answer to "where did this e-mail go?"."""

    source_id = models.TextField(db_collation="C")
    email = models.TextField()
    email_key = models.TextField(db_collation="C")
    remote_instance_id = models.TextField(db_collation="C")
    remote_tenant_id = models.TextField(db_collation="C")
    removed_at = models.DateTimeField()
    run_id = models.BigIntegerField(help_text="by value: runs are pruned")

    class Meta:
        db_table = "user_route_removals"
        indexes: ClassVar = [
            models.Index(fields=["email_key", "-removed_at"], name="removals_by_email")
        ]

    def __str__(self) -> str:
        return f"{self.email} removed at {self.removed_at:%Y-%m-%d %H:%M}"
