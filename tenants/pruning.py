"""The fleet's own rows that are deleted some time after they were needed last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection

from syncs.engine.pruning import OF_RUNS, Rule, in_batches, older, register
from tenants.models import (
    ApplicationEvent,
    InstanceCheck,
    RdsInstance,
    RouteRemoval,
    SupportSession,
    TenantChange,
    TenantDailyCount,
)

NEWEST = 60  # checks of each instance that are left alone: pages draw them, however old they are
# A check that saw a healthy instance, and came after one that did.
_REPEATED = """
    DELETE FROM instance_checks AS seen
     WHERE instance_id = %(instance)s AND health = 'healthy'
       AND minute < least(%(before)s, coalesce((
           SELECT minute FROM instance_checks WHERE instance_id = %(instance)s
            ORDER BY minute DESC OFFSET %(newest)s LIMIT 1), '-infinity'))
       AND (SELECT earlier.health FROM instance_checks AS earlier
             WHERE earlier.instance_id = seen.instance_id AND earlier.minute < seen.minute
             ORDER BY earlier.minute DESC LIMIT 1) = 'healthy'"""


def repeated_checks(_: datetime, before: datetime) -> Iterator[int]:
    """Delete healthy checks that followed a healthy one, and yield how many each instance had.

    Of earlier days, pages, alerts and previews read problems, and the check after each.
    """
    for instance in RdsInstance.objects.order_by("pk").values_list("pk", flat=True):
        given: dict[str, Any] = {"instance": instance, "before": before, "newest": NEWEST - 1}
        with connection.cursor() as cursor:
            cursor.execute(_REPEATED, given)
            yield cursor.rowcount


def _old_counts(_: datetime, before: datetime) -> Iterator[int]:
    return in_batches(TenantDailyCount.objects.filter(day__lt=before.date()))


register(
    Rule(
        "route removals",
        ("tenants.RouteRemoval",),
        OF_RUNS,
        "the removal of the route",
        older(RouteRemoval, "removed_at"),
    ),
    Rule(
        "health checks",
        ("tenants.InstanceCheck",),
        "RAINBO_CHECK_RETENTION_DAYS",
        "the check",
        older(InstanceCheck, "minute"),
        hourly=True,
    ),
    Rule(
        "repeated health checks",
        ("tenants.InstanceCheck",),
        "RAINBO_RUN_DETAIL_DAYS",
        "the check, of those that saw a healthy instance after one that did",
        repeated_checks,
        hourly=True,
    ),
    Rule(
        "daily counts of tenants",
        ("tenants.TenantDailyCount",),
        "RAINBO_TENANT_COUNT_RETENTION_DAYS",
        "the day; pages show 90 days",
        _old_counts,
    ),
    Rule(
        "changes of tenants",
        ("tenants.TenantChange",),
        "RAINBO_TENANT_CHANGE_RETENTION_DAYS",
        "the change of status or name",
        older(TenantChange, "at"),
    ),
    Rule(
        "support sessions",
        ("tenants.SupportSession",),
        "RAINBO_SUPPORT_RETENTION_DAYS",
        "the end of the session",
        older(SupportSession, "closed_at"),
    ),
    Rule(
        "application events",
        ("tenants.ApplicationEvent",),
        "RAINBO_SUPPORT_RETENTION_DAYS",
        "its arrival",
        older(ApplicationEvent, "received_at"),
    ),
)
