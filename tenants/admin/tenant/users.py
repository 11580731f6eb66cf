"""The users of a tenant on its page: for users with permission to see routes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from common import markup
from common.markup import Tone
from syncs.admin import badges
from syncs.status.queries import SyncStatus
from tenants.models import Tenant, UserRoute
from tenants.routes import of_tenant


def part(request: HttpRequest, tenant: Tenant, sync: SyncStatus, now: datetime) -> dict[str, Any]:
    if not request.user.has_perm("tenants.view_userroute"):
        return {}
    after, before = request.GET.get("after", ""), request.GET.get("before", "")
    found = of_tenant.page(tenant, after, before)
    key = {"instance": tenant.instance_id, "tenant": tenant.remote_id}
    master = next(iter(sync.targets), None)
    return {
        "users": found,
        "routes": [_route(route) for route in found.rows],
        "routes_url": reverse("admin:tenants_userroute_changelist", query=key),
        "routes_fresh": badges.freshness_badge(master) if master else None,
        "routes_age": markup.age(master.confirmed_at if master else None, now),
    }


def _route(route: UserRoute) -> dict[str, Any]:
    active = (route.status or "").lower() == "active"
    state = markup.badge(route.status, Tone.GOOD if active else Tone.QUIET) if route.status else ""
    hidden = route.withheld_reason
    return {
        "email": route.email,
        "url": reverse("admin:tenants_userroute_change", args=[route.pk]),
        "name": route.user_name or markup.quiet("unknown"),
        "there": route.remote_user_id,
        "state": state or markup.quiet("unknown"),
        "hidden": markup.badge("withheld", Tone.WARNING, hidden) if hidden else "",
        "why": hidden or "",
    }
