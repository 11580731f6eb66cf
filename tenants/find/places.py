"""The instances that a search has to do with: how each is, for pages and commands alike."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from tenants.find.search import Found
from tenants.health import condition
from tenants.health.condition import Condition
from tenants.models import RdsInstance
from tenants.models.instance import Health
from tenants.routes.queries import Route

READ = ("name", "health", "is_active", "is_master", "last_check_at")


def conditions(found: Found, now: datetime) -> list[Condition]:
    """Of the instances found, those of the accounts and tenants found, and the master."""
    exact = found.exact
    keys = {route.instance_pk for route in (*exact.shown, *exact.withheld)}
    keys |= {tenant.instance_id for tenant in found.tenants.rows}
    keys |= {instance.pk for instance in found.instances.rows}
    rows = RdsInstance.objects.filter(Q(pk__in=keys - {None}) | Q(is_master=True)).only(*READ)
    checks = condition.checks_in(exact.status.syncs)
    return [condition.of(row, now, checks) for row in rows]


def condition_of(route: Route) -> Condition | None:
    """Of the instance that a route leads to; None if it is not registered."""
    if route.instance_pk is None:
        return None
    label = RdsInstance.label_of(route.instance_pk, str(route.instance_name))
    return Condition(
        route.instance_pk,
        label,
        Health(str(route.instance_health)),
        bool(route.instance_active),
        route.instance_checked_at,
    )
