"""The trail of support access as a CSV file: the rows of the filtered list."""

from __future__ import annotations

from collections.abc import Iterator
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
from tenants.models import SupportSession

HEADER = (
    *("session", "state", "who", "user id", "from", "instance", "instance name", "tenant"),
    *("tenant name", "ghost user", "reason", "ticket", "read only", "minutes"),
    *("issued (UTC)", "redeemed (UTC)", "last active (UTC)", "requests", "blocked"),
    *("ends (UTC)", "ended (UTC)", "ended by", "refused", "last refused (UTC)", "differs"),
    *("never issued", "mail"),
)
CHUNK = 2_000


@post_only
def export_view(request: HttpRequest, **_: Any) -> HttpResponseBase:
    pages: Any = admin.site.get_model_admin(SupportSession)
    if not pages.has_view_permission(request):
        raise PermissionDenied
    try:
        found = pages.get_changelist_instance(request).get_queryset(request)
    except IncorrectLookupParameters:
        return HttpResponseRedirect(reverse("admin:tenants_supportsession_changelist"))
    filename = f"support-access-{timezone.now().astimezone(UTC):%Y%m%dT%H%M%SZ}.csv"
    chosen = {name: ", ".join(values) for name, values in request.GET.lists()}
    record(request, "support_sessions.exported", filename, after={"filter": chosen})
    return csv_response(filename, HEADER, _cells(found[: LIMIT + 1].iterator(CHUNK)))


def _cells(rows: Iterator[SupportSession]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        yield (
            *(str(row.jti), row.state.value, row.person, row.person_id, row.address),
            *(row.instance_id, row.instance_name, row.tenant_id, row.tenant_name, row.ghost_id),
            *(row.reason, row.ticket, *_allowed(row)),
            *(
                _utc(None if row.is_forged else row.issued_at),
                _utc(row.redeemed_at),
                _utc(row.active_at),
            ),
            *(row.requests, row.blocked, _utc(row.ends_at), _utc(row.ended_at), row.ended_by),
            *(row.refused, _utc(row.refused_at), row.differs),
            *("yes" if row.is_forged else "no", row.mail),
        )


def _allowed(row: SupportSession) -> tuple[str, int | str]:
    """Whether it is read-only, and its minutes; nobody knows what a forged assertion says."""
    if row.is_forged:
        return "unknown", "unknown"
    return "yes" if row.read_only else "no", row.session_seconds // 60


def _utc(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat() if at else ""
