"""What the pages and the commands read about the fleet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from syncs.models import WithheldRow
from tenants.models import RouteRemoval

ROUTING = "user_routing"

_ROWS = """
    SELECT route.source_id, route.email, route.remote_instance_id, route.remote_tenant_id,
           route.remote_user_id, route.user_name, route.status, route.source_updated_at,
           route.withheld_reason, instance.name, instance.is_active, instance.health,
           tenant.name, tenant.status, tenant.vanished_at, instance.id, tenant.id,
           instance.last_check_at
      FROM user_routes AS route
      LEFT JOIN rds_instances AS instance
        ON instance.id = rainbo_instance_id(route.remote_instance_id)
      LEFT JOIN tenant_master AS tenant
        ON tenant.instance_id = instance.id AND tenant.remote_id = route.remote_tenant_id
     WHERE {condition}
     ORDER BY {order}"""
# By equality on the key alone: the index answers it, however many routes there are.
_ROUTES = _ROWS.format(
    condition="route.email_key = %s",
    order="route.withheld_reason IS NOT NULL, instance.id, route.source_id",
)
_ROUTES_BY_ID = _ROWS.format(
    condition="route.source_id = ANY(%s)", order="array_position(%s::text[], route.source_id)"
)


def instance_called(remote_id: str) -> str:
    """Return the name of an instance by its id in the directory."""
    return f"instance {remote_id}" if remote_id else "an instance without id"


@dataclass(frozen=True)
class Route:
    """A route with its instance and its tenant, as far as RAINBO knows them."""

    source_id: str
    email: str
    instance_id: str
    tenant_id: str
    user_id: str
    user_name: str | None
    status: str | None
    source_updated_at: datetime | None
    withheld_reason: str | None
    instance_name: str | None
    instance_active: bool | None
    instance_health: str | None
    tenant_name: str | None
    tenant_status: str | None
    tenant_vanished_at: datetime | None
    instance_pk: int | None = None
    tenant_pk: int | None = None
    instance_checked_at: datetime | None = None

    @property
    def tenant(self) -> str:
        if self.tenant_name is None:
            return f"tenant {self.tenant_id} on {instance_called(self.instance_id)}, not yet read"
        gone = f", vanished {self.tenant_vanished_at:%Y-%m-%d}" if self.tenant_vanished_at else ""
        return f"tenant {self.tenant_id} “{self.tenant_name}” ({self.tenant_status}{gone})"


def email_keys(emails: Iterable[str]) -> list[str]:
    """The keys of e-mails, by the one function that knows how."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rainbo_email_key(email) FROM unnest(%s::text[]) WITH ORDINALITY "
            "AS given (email, place) ORDER BY place",
            [list(emails)],
        )
        return [key for (key,) in cursor.fetchall()]


def routes_of(key: str) -> tuple[Route, ...]:
    """All routes of an e-mail's key, those that readers see first."""
    with connection.cursor() as cursor:
        cursor.execute(_ROUTES, [key])
        return tuple(Route(*row) for row in cursor.fetchall())


def routes_by_id(source_ids: list[str]) -> tuple[Route, ...]:
    """These routes in this order."""
    with connection.cursor() as cursor:
        cursor.execute(_ROUTES_BY_ID, [source_ids, source_ids])
        return tuple(Route(*row) for row in cursor.fetchall())


def removals_of(key: str, count: int = 10) -> tuple[RouteRemoval, ...]:
    """The last routes of the key that a sync removed, newest first."""
    return tuple(RouteRemoval.objects.filter(email_key=key).order_by("-removed_at", "-pk")[:count])


def unusable_routes() -> int:
    """Rows of the directory that could not be stored, whose e-mail may be unknown."""
    return WithheldRow.objects.filter(sync=ROUTING).count()
