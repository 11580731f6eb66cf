"""What people did: written once, never changed."""

from __future__ import annotations

from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now


class Activity(models.Model):
    """One action of a person. Names are by value: they outlive who and what they name."""

    at = models.DateTimeField(db_default=Now())
    actor = models.CharField(max_length=150, help_text="user name as it was")
    actor_id = models.BigIntegerField(null=True, help_text="the user; null for an unknown one")
    address = models.GenericIPAddressField(null=True, help_text="where the request came from")
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=255, blank=True, help_text="on what, in words")
    subject_kind = models.CharField(max_length=64, blank=True, help_text="app.model")
    subject_id = models.CharField(max_length=64, blank=True)
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)

    class Meta:
        db_table = "activity"
        verbose_name = "activity"
        verbose_name_plural = "activity"
        ordering: ClassVar = ["-id"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.subject}".rstrip()
