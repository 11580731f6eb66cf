"""Testing and checking instances from the console: by POST only, by those who may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from syncs import runs, tasks
from syncs.models import Trigger
from syncs.options import Options
from tenants.connection_test import AT_ONCE, try_connections
from tenants.models import RdsInstance


def may_check(request: HttpRequest) -> bool:
    return request.user.has_perm("tenants.check_instance")


def tell_tests(request: HttpRequest, instances: Sequence[RdsInstance]) -> None:
    """Try the stored settings of some instances now and say what came of each."""
    if len(instances) > AT_ONCE:
        messages.error(request, f"Test at most {AT_ONCE} instances at once: you chose more.")
        return
    for outcome in try_connections(instances):
        if outcome.value is None:
            messages.error(request, f"{outcome.error}")
            continue
        seen = outcome.value
        words = f"{outcome.instance} answers in {seen.latency_ms:.1f} ms, PostgreSQL {seen.version}"
        tell = messages.warning if seen.warnings else messages.success
        tell(request, "; ".join([words, *seen.warnings]) + ".")


def ask_for_check(request: HttpRequest, instances: Sequence[RdsInstance]) -> None:
    """Request a health run of some instances; a worker executes it."""
    for idle in [instance for instance in instances if not instance.is_active]:
        messages.warning(request, f"{idle} is not active: only active instances are checked.")
    targets = tuple(str(instance.pk) for instance in instances if instance.is_active)
    if not targets:
        return
    actor = request.user.get_username()
    record = runs.request("instance_health", Options(targets=targets), Trigger.BUTTON, actor)
    tasks.ring(record)
    url = reverse("admin:syncs_syncrun_change", args=[record.pk])
    said = 'A check was requested: <a href="{}">run {}</a>. A worker takes it up.'
    messages.success(request, format_html(said, url, record.pk))


@require_POST
def test_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    instance = _found(request, pk)
    tell_tests(request, [instance])
    return _back(instance)


@require_POST
def check_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    instance = _found(request, pk)
    ask_for_check(request, [instance])
    return _back(instance)


def _found(request: HttpRequest, pk: int) -> RdsInstance:
    if not may_check(request):
        raise PermissionDenied
    return get_object_or_404(RdsInstance, pk=pk)


def _back(instance: RdsInstance) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:tenants_rdsinstance_change", args=[instance.pk]))
