"""Where the console shows the instances that a sync takes."""

from __future__ import annotations

from collections.abc import Collection

from django.urls import reverse

from syncs.engine.targets import Pages
from tenants.models import RdsInstance


def _addresses(keys: Collection[str]) -> dict[str, str]:
    """Of those that are registered still."""
    known = RdsInstance.objects.filter(pk__in=keys).values_list("pk", flat=True)
    return {str(pk): reverse("admin:tenants_rdsinstance_change", args=[pk]) for pk in known}


INSTANCES = Pages(_addresses, "tenants.view_rdsinstance")
