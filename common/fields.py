"""Model fields that keep secrets out of tables."""

from __future__ import annotations

from typing import Any

from django.db import models

from common.redaction import redact


class RedactedTextField(models.TextField[Any, Any]):
    """Text of errors and logs: whatever writes it, secrets in it are stored masked."""

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        return redact(prepared) if isinstance(prepared, str) else prepared

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """As Django's field: the column is the same."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.TextField", args, kwargs
