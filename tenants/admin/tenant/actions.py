"""Reading a tenant live and syncing its instance, from its page: by POST, with permission."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from activity.log import record
from syncs.admin.run_requests import page_of, request_run
from tenants.admin.instance.syncs import wish
from tenants.admin.tenant import page
from tenants.fleet.live_limit import Busy, live_slot
from tenants.models import Tenant
from tenants.summaries import live_tenant
from tenants.summaries.freshness import SUMMARIES

LOOK, ASK, RUN = "tenants.view_tenant", "tenants.check_instance", "syncs.run_sync"


@require_POST
def live_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """The page, with what the instance says now."""
    tenant = _found(request, pk, ASK)
    try:
        with live_slot():
            live = live_tenant.read(tenant)
    except Busy as error:
        messages.warning(request, str(error))
        return page.response(request, tenant)
    record(request, "tenant.read_live", tenant, after={"found": live.in_words(tenant)})
    return page.response(request, tenant, live)


@require_POST
def sync_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Request a run for its instance alone; a worker executes it."""
    tenant = _found(request, pk, RUN)
    if not tenant.instance.is_active:
        messages.error(request, f"{tenant.instance} is disabled: no sync includes it.")
        url = reverse("admin:tenants_tenant_change", args=[pk])
        return HttpResponseRedirect(url)
    return page_of(request_run(request, SUMMARIES, wish(tenant.instance, SUMMARIES)))


def _found(request: HttpRequest, pk: int, permission: str) -> Tenant:
    if not request.user.has_perms([LOOK, permission]):
        raise PermissionDenied
    return get_object_or_404(Tenant.objects.select_related("instance"), pk=pk)
