"""Syncing the ghost users of one admin, or of one instance, from the console: by POST only."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from common.errors import RainboError, UsageError
from syncs.admin.run_requests import page_of, request_run
from syncs.engine.options import Options
from tenants.fleet import targets
from tenants.ghosts import coverage, owed, policy
from tenants.models.instance import parse_id

RUN = "syncs.run_sync"
SYNC = "ghost_users"


@require_POST
def sync_view(request: HttpRequest, **_: Any) -> HttpResponse:
    """Request a run for the admin, the instance, or the one on the other; a worker executes it."""
    if not request.user.has_perm(RUN):
        raise PermissionDenied
    try:
        options = wish(request.POST.get("admin", ""), request.POST.get("instance", ""))
        return page_of(request_run(request, SYNC, options))
    except RainboError as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("admin:tenants_ghostuser_changelist"))


def wish(admin: str, instance: str) -> Options:
    """Raises UsageError for an admin or an instance that no run could take."""
    if not admin and not instance:
        raise UsageError("select an admin or an instance")
    only = (admin,) if admin else ()
    chosen = policy.parse_only(only)
    if instance:
        _check_instance(instance, chosen)
    return Options(only=only, targets=(instance,) if instance else ())


def _check_instance(instance: str, only: set[int]) -> None:
    """Check that it is active, or has a leaver's ghost user that a run may still remove."""
    number = parse_id(instance)
    if number is None:
        raise UsageError(f"invalid instance id: {instance}")
    leaving = owed.instances_without(coverage.wanted_ids(), only)
    if number not in {row.pk for row in leaving}:
        targets.check_ids([number])
