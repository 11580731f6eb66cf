"""The trail of support access as a CSV file: the rows of the filtered list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase

from activity.list_export import export_list
from common.csv_export import utc
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
    return export_list(request, SupportSession, "support_sessions.exported", HEADER, _cells)


def _cells(found: QuerySet[SupportSession]) -> Iterator[tuple[Any, ...]]:
    for row in found.iterator(CHUNK):
        yield (
            *(str(row.jti), row.state.value, row.person, row.person_id, row.address),
            *(row.instance_id, row.instance_name, row.tenant_id, row.tenant_name, row.ghost_id),
            *(row.reason, row.ticket, *_allowed(row)),
            *(
                utc(None if row.is_forged else row.issued_at),
                utc(row.redeemed_at),
                utc(row.active_at),
            ),
            *(
                row.requests,
                row.blocked,
                utc(row.ends_at),
                utc(row.ended_at),
                row.ended_by,
            ),
            *(row.refused, utc(row.refused_at), row.differs),
            *("yes" if row.is_forged else "no", row.mail),
        )


def _allowed(row: SupportSession) -> tuple[str, int | str]:
    """Whether it is read-only, and its minutes; nobody knows what a forged assertion says."""
    if row.is_forged:
        return "unknown", "unknown"
    return "yes" if row.read_only else "no", row.session_seconds // 60
