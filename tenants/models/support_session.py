"""Support access: the keys that sign, the sessions, and the tenants that nobody enters.

Instances, tenants and persons are named by value, so that the trail outlives them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.encryption import Binding, EncryptedField
from common.fields import RedactedTextField


class SupportKey(models.Model):
    """One key. Which one signs follows from the times: see support_access/keys.py."""

    kid = models.CharField(primary_key=True, max_length=43)
    public = models.CharField(max_length=43, help_text="x of its JWK")
    secret = EncryptedField(editable=False)
    made_at = models.DateTimeField()
    signs_from = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, help_text="no longer published from then on")

    class Meta:
        db_table = "support_keys"
        default_permissions = ()
        ordering: ClassVar = ["signs_from", "kid"]

    def __str__(self) -> str:
        return f"support key {self.kid}"

    @property
    def binding(self) -> Binding:
        return Binding(row=f"{self._meta.db_table}/{self.kid}", settings=(), strength=0)


class SupportState(models.TextChoices):
    ISSUED = "issued"
    OPEN = "open"
    ENDED = "ended"
    UNUSED = "never used"


class SupportSession(models.Model):
    """One session: what was issued, and what the instance's database says of it.

    closed_at: when RAINBO knew that it was over; until then the instance is asked.
    end_requested_at: when RAINBO began to end it. differs: how the redeemed one differs from what
    was issued.
    """

    jti = models.UUIDField(primary_key=True)
    instance_id = models.PositiveIntegerField()
    instance_name = models.CharField(max_length=100)
    tenant_id = models.TextField(db_collation="C")
    tenant_name = models.TextField()
    person_id = models.BigIntegerField(help_text="the user")
    person = models.CharField(max_length=150, help_text="user name as it was")
    ghost_id = models.TextField()
    address = models.GenericIPAddressField(null=True, help_text="where the request came from")
    reason = models.TextField()
    ticket = models.CharField(max_length=100, blank=True)
    read_only = models.BooleanField()
    session_seconds = models.PositiveIntegerField()
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField(help_text="until when it could be redeemed")
    kid = models.CharField(max_length=43)

    redeemed_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    active_at = models.DateTimeField(null=True)
    requests = models.BigIntegerField(null=True)
    blocked = models.BigIntegerField(null=True, help_text="requests that were not allowed")
    refused = models.BigIntegerField(default=0, help_text="further attempts to redeem it")
    refused_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.TextField(blank=True)
    differs = models.TextField(blank=True)

    end_requested_at = models.DateTimeField(null=True)
    end_requested_by = models.TextField(blank=True)
    asked_at = models.DateTimeField(null=True, help_text="when the instance was last asked")
    answered_at = models.DateTimeField(null=True)
    error = RedactedTextField(blank=True, help_text="why the last attempt to ask failed")
    closed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "support_sessions"
        verbose_name = "support session"
        ordering: ClassVar = ["-issued_at", "-jti"]
        default_permissions = ("view",)
        permissions: ClassVar = [
            ("open_supportsession", "Can open support sessions in tenants"),
            ("end_supportsession", "Can end support sessions of others"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["person_id", "instance_id", "tenant_id"],
                condition=Q(closed_at=None),
                name="one_open_support_session",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["issued_at", "jti"], name="support_sessions_at"),
            models.Index(
                fields=["instance_id", "tenant_id", "issued_at"], name="support_sessions_of_tenant"
            ),
            models.Index(fields=["person", "issued_at"], name="support_sessions_of_person"),
            models.Index(fields=["refused_at"], name="support_sessions_refused"),
        ]

    def __str__(self) -> str:
        return f"{self.person} in {self.tenant} on {self.instance}"

    @property
    def instance(self) -> str:
        return f"instance {self.instance_id} ({self.instance_name})"

    @property
    def tenant(self) -> str:
        return f"{self.tenant_name or 'tenant'} ({self.tenant_id})"

    @property
    def state(self) -> SupportState:
        if self.closed_at is None:
            return SupportState.OPEN if self.redeemed_at else SupportState.ISSUED
        return SupportState.ENDED if self.redeemed_at else SupportState.UNUSED

    def is_overdue(self, now: datetime) -> bool:
        """Whether it should be over."""
        until = self.ends_at if self.redeemed_at else self.expires_at
        return until is not None and until <= now


class SupportOptOut(models.Model):
    """A tenant that nobody enters as support. It is named by value: one read again keeps it."""

    instance_id = models.PositiveIntegerField()
    tenant_id = models.TextField(db_collation="C")
    reason = models.CharField(max_length=255)
    by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "support_opt_outs"
        verbose_name = "support opt-out"
        default_permissions = ("add", "delete")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["instance_id", "tenant_id"], name="one_opt_out_per_tenant"
            ),
        ]

    def __str__(self) -> str:
        return f"tenant {self.tenant_id} on instance {self.instance_id}: {self.reason}"

    @classmethod
    def of(cls, instance_id: int, tenant_id: str) -> Any:
        return cls.objects.filter(instance_id=instance_id, tenant_id=tenant_id).first()
