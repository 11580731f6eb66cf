"""Tenants with their contacts as a CSV file: the rows of the filtered list, in its order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from activity.log import record
from common.csv_export import LIMIT, csv_response
from common.model_admin import post_only
from tenants.models import Tenant

PERMISSION = "tenants.export_tenant"
HEADER = (
    *("instance", "instance name", "tenant", "name", "status", "contact", "contact e-mail"),
    *("active users", "locations", "trial ends (UTC)", "subscribed since (UTC)"),
    *("last activity (UTC)", "refreshed (UTC)", "vanished (UTC)"),
)
CHUNK = 2_000


@post_only
def export_view(request: HttpRequest, **_: Any) -> HttpResponseBase:
    pages: Any = admin.site.get_model_admin(Tenant)
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    try:
        found = pages.get_changelist_instance(request).get_queryset(request)
    except IncorrectLookupParameters:
        return HttpResponseRedirect(reverse("admin:tenants_tenant_changelist"))
    filename = f"tenants-{timezone.now().astimezone(UTC):%Y%m%dT%H%M%SZ}.csv"
    chosen = {name: ", ".join(values) for name, values in request.GET.lists()}
    record(request, "tenants.exported", filename, after={"filter": chosen})
    rows = found.select_related("instance").only(*SHOWN)[: LIMIT + 1]
    return csv_response(filename, HEADER, _cells(rows.iterator(CHUNK)))


SHOWN = (
    *("instance__name", "remote_id", "name", "status", "contact_name", "contact_email"),
    *("user_count", "location_count", "trial_ends_at", "subscription_started_at"),
    *("last_activity_at", "cache_refreshed_at", "vanished_at"),
)


def _cells(rows: Iterable[Tenant]) -> Iterator[tuple[Any, ...]]:
    """A cell of what is unknown is empty."""
    for row in rows:
        yield (
            *(row.instance_id, row.instance.name, row.remote_id, row.name, row.status),
            *(row.contact_name, row.contact_email, row.user_count, row.location_count),
            *(_utc(row.trial_ends_at), _utc(row.subscription_started_at)),
            *(_utc(row.last_activity_at), _utc(row.cache_refreshed_at), _utc(row.vanished_at)),
        )


def _utc(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat() if at else ""
