"""Tenants with their contacts as a CSV file: the rows of the filtered list, in its order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase

from activity.list_export import export_list
from common.csv_export import utc
from common.model_admin import post_only
from tenants.models import Tenant

PERMISSION = "tenants.export_tenant"
HEADER = (
    *("instance", "instance name", "tenant", "name", "status", "contact", "contact e-mail"),
    *("active users", "locations", "trial ends (UTC)", "subscribed since (UTC)"),
    *("last activity (UTC)", "refreshed (UTC)", "vanished (UTC)"),
)
CHUNK = 2_000
SHOWN = (
    *("instance__name", "remote_id", "name", "status", "contact_name", "contact_email"),
    *("user_count", "location_count", "trial_ends_at", "subscription_started_at"),
    *("last_activity_at", "cache_refreshed_at", "vanished_at"),
)


@post_only
def export_view(request: HttpRequest, **_: Any) -> HttpResponseBase:
    return export_list(request, Tenant, "tenants.exported", HEADER, _cells, permission=PERMISSION)


def _cells(found: QuerySet[Tenant]) -> Iterator[tuple[Any, ...]]:
    """A cell of what is unknown is empty."""
    for row in found.select_related("instance").only(*SHOWN).iterator(CHUNK):
        yield (
            *(row.instance_id, row.instance.name, row.remote_id, row.name, row.status),
            *(row.contact_name, row.contact_email, row.user_count, row.location_count),
            *(utc(row.trial_ends_at), utc(row.subscription_started_at)),
            *(
                utc(row.last_activity_at),
                utc(row.cache_refreshed_at),
                utc(row.vanished_at),
            ),
        )
