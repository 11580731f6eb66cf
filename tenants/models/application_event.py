"""What applications report by themselves, and the secrets that they sign it with."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from common.encryption import Binding, EncryptedField
from tenants.models.instance import RdsInstance


class ApplicationSecret(models.Model):
    """The secret that one instance's application signs its events with."""

    instance = models.OneToOneField(
        RdsInstance, on_delete=models.CASCADE, primary_key=True, related_name="application_secret"
    )
    secret = EncryptedField(editable=False)
    made_at = models.DateTimeField(auto_now=True)
    minute = models.DateTimeField(null=True, help_text="of the last request")
    requests = models.PositiveIntegerField(default=0, db_default=0, help_text="in that minute")

    class Meta:
        db_table = "application_secrets"
        default_permissions = ()

    def __str__(self) -> str:
        return f"secret of the application of instance {self.pk}"

    @property
    def binding(self) -> Binding:
        return Binding(row=f"{self._meta.db_table}/{self.pk}", settings=(), strength=0)


class ApplicationEvent(models.Model):
    """One event. All but the instance and the times is as the application says it."""

    instance_id = models.PositiveIntegerField()
    event_id = models.CharField(max_length=64, db_collation="C")
    at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now())
    action = models.CharField(max_length=100)
    session = models.UUIDField(null=True, help_text="the support session that it happened in")
    tenant_id = models.CharField(max_length=100, blank=True)
    user_id = models.CharField(max_length=100, blank=True)
    text = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "application_events"
        verbose_name = "application event"
        default_permissions = ()
        ordering: ClassVar = ["at", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["instance_id", "event_id"], name="one_event_per_id"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["session", "at"], name="events_of_session"),
            models.Index(fields=["received_at"], name="events_received"),
        ]

    def __str__(self) -> str:
        return f"{self.action} on instance {self.instance_id}"
