"""What changed of a tenant in the last seven days, as far as the caches keep it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.text import counted
from tenants.models import Tenant
from tenants.models.tenant import TenantChange
from tenants.routes import of_tenant
from tenants.summaries import history
from tenants.summaries.history import Day, Past

WORDS = {
    TenantChange.Kind.STATUS: "Status",
    TenantChange.Kind.NAME: "Name",
    TenantChange.Kind.VANISHED: "Its instance no longer had it",
    TenantChange.Kind.BACK: "Its instance had it again",
}


def lines(
    request: HttpRequest, tenant: Tenant, days: list[Day], changes: Sequence[Past], now: datetime
) -> list[SafeString | str]:
    """days: its counts; changes: its last ones, the latest first. Both were read for the page."""
    return [
        *_changes(changes, now - timedelta(days=history.WEEK), now),
        *_counts(tenant, days),
        *(_routes(tenant, now) if request.user.has_perm("tenants.view_userroute") else ()),
    ]


def _changes(changes: Sequence[Past], since: datetime, now: datetime) -> Iterator[SafeString]:
    for change in (past.change for past in changes):
        if change.at >= since:
            what = WORDS[TenantChange.Kind(change.kind)]
            moved = ""
            if change.kind in (TenantChange.Kind.STATUS, TenantChange.Kind.NAME):
                moved = f": {change.before or 'empty'} → {change.after or 'empty'}"
            yield format_html("{}{}, {}", what, moved, markup.age(change.at, now))


def _counts(tenant: Tenant, days: list[Day]) -> Iterator[str]:
    if (before := history.a_week_ago(days)) is None:
        yield "Its counts of a week ago are unknown"
        return
    for name, then, today in (
        ("Active users", before.users, tenant.user_count),
        ("Locations", before.locations, tenant.location_count),
    ):
        if grown := history.growth(then, today):
            yield f"{name}: {grown} since {before.day}"


def _routes(tenant: Tenant, now: datetime) -> Iterator[str]:
    """Of so many that the page counts; those that were removed are kept by e-mail only."""
    since = now - timedelta(days=history.WEEK)
    rows = of_tenant.of_tenant(tenant).order_by()
    times = list(rows.values_list("changed_at", flat=True)[: of_tenant.COUNTED + 1])
    if len(times) > of_tenant.COUNTED:
        return
    if recent := sum(at >= since for at in times):
        yield f"{counted(recent, 'route')} added or changed"
