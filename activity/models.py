"""What people did: written once, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now

from activity import actions, wording


@dataclass(frozen=True)
class FieldChange:
    """One value that an action changed. None where there was, or is, none."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name}: {self.after}"
        return f"{self.name}: {self.before} → {'gone' if self.after is None else self.after}"


class Activity(models.Model):
    """One action of a person. Names are by value: they outlive who and what they name."""

    at = models.DateTimeField(db_default=Now())
    actor = models.CharField(max_length=150, help_text="user name as it was")
    actor_id = models.BigIntegerField(null=True, help_text="the user; null for an unknown one")
    address = models.GenericIPAddressField(null=True, help_text="where the request came from")
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=255, blank=True, help_text="what it was done to, as text")
    subject_kind = models.CharField(max_length=64, blank=True, help_text="app.model")
    subject_id = models.CharField(max_length=64, blank=True)
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)

    class Meta:
        db_table = "activity"
        verbose_name = "action"
        verbose_name_plural = "actions"
        ordering: ClassVar = ["-at", "-id"]
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(fields=["at", "id"], name="activity_at"),
            models.Index(fields=["actor", "at", "id"], name="activity_actor"),
            models.Index(fields=["action", "at", "id"], name="activity_action"),
            models.Index(
                fields=["subject_kind", "subject_id", "at", "id"], name="activity_subject"
            ),
        ]

    def __str__(self) -> str:
        on_what = f": {self.subject}" if self.subject not in ("", self.actor) else ""
        return f"{self.actor} {self.what}{on_what}"

    @property
    def what(self) -> str:
        """The action as text."""
        return actions.describe(self.action)

    @property
    def changes(self) -> list[FieldChange]:
        """What it changed, value by value."""
        before, after = self.before or {}, self.after or {}
        return [
            FieldChange(name, _text(before, name), _text(after, name))
            for name in dict.fromkeys([*before, *after])
        ]

    @property
    def changes_in_words(self) -> str:
        return "; ".join(str(change) for change in self.changes)


def _text(values: dict[str, Any], name: str) -> str | None:
    """A value as a person reads it; None when it isn't there."""
    return wording.in_words(values[name]) if name in values else None
