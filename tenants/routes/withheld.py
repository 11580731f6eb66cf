"""The routes that are stored and hidden from readers, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse

from syncs.engine.targets import Hidden, Withheld
from tenants.models import RdsInstance, UserRoute
from tenants.routes.queries import instance_called

CHUNK = 2_000  # rows in memory at once
FILTER = "readers"  # of the list of routes
WITHHELD = "withheld"


def _rows(limit: int | None) -> Iterator[Withheld]:
    """In the order of the index that holds these alone."""
    labels = {str(instance.pk): str(instance) for instance in RdsInstance.objects.only("name")}
    found = UserRoute.objects.exclude(withheld_reason=None).order_by("email_key", "source_id")
    for route in found[:limit].iterator(CHUNK):
        number = route.remote_instance_id
        yield Withheld(
            instance=labels.get(number, instance_called(number)),
            source_id=route.source_id,
            what=str(route),
            reason=route.withheld_reason or "",
            since=route.changed_at,
        )


def _page() -> str:
    return reverse("admin:tenants_userroute_changelist", query={FILTER: WITHHELD})


HIDDEN = Hidden("routes", _rows, _page, "tenants.view_userroute")
