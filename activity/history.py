"""Where the activity on one object is shown."""

from __future__ import annotations

from django.urls import reverse

OF = "of"  # the list's parameter: app.model:id


def page_of(kind: str, pk: object) -> str:
    """The list of what was done to one object. kind: app.model."""
    return reverse("admin:activity_activity_changelist", query={OF: f"{kind}:{pk}"})
