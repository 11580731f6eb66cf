"""Testing and checking instances from the console: by POST only, with permission."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from activity.log import record
from syncs.admin.run_requests import request_run
from syncs.engine.options import Options
from tenants.fleet.live_limit import Busy, live_slot
from tenants.health import last_checks
from tenants.health.checks import Checked, check_fleet
from tenants.health.findings import Level
from tenants.models import RdsInstance

LIMIT = 8.0  # seconds for one instance, so that a page answers within ten
AT_ONCE = 8  # instances that one page may test


def may_check(request: HttpRequest) -> bool:
    return request.user.has_perm("tenants.check_instance")


def tell_tests(request: HttpRequest, instances: Sequence[RdsInstance]) -> None:
    """Try the stored settings of some instances now and show the result of each."""
    most = min(AT_ONCE, settings.RAINBO_FLEET_THREADS)
    if len(instances) > most:
        messages.error(request, f"Test at most {most} instances at once: you chose more.")
        return
    try:
        with live_slot():
            found = check_fleet(instances, LIMIT)
    except Busy as error:
        messages.warning(request, str(error))
        return
    last_checks.remember(found)
    for checked in found:
        level, text = _in_words(checked)
        record(request, "instance.tested", checked.instance, after={"found": text})
        messages.add_message(request, level, text)


def ask_for_check(request: HttpRequest, instances: Sequence[RdsInstance]) -> None:
    """Request a health run of some instances; a worker executes it."""
    for idle in [instance for instance in instances if not instance.is_active]:
        messages.warning(request, f"{idle} is not active: only active instances are checked.")
    targets = tuple(str(instance.pk) for instance in instances if instance.is_active)
    if not targets:
        return
    request_run(request, "instance_health", Options(targets=targets), linked=True)


def _in_words(checked: Checked) -> tuple[int, str]:
    """Return the message level, and the errors, or else the warnings and what is fine."""
    texts: dict[Level, list[str]] = {level: [] for level in Level}
    for finding in checked.findings:
        texts[finding.level].append(finding.text)
    text = "; ".join(texts[Level.ERROR] or [*texts[Level.WARNING], *texts[Level.OK]])
    name = str(checked.instance)
    severe = messages.ERROR if texts[Level.ERROR] else messages.WARNING
    level = severe if texts[Level.ERROR] or texts[Level.WARNING] else messages.SUCCESS
    return level, text if text.startswith(name) else f"{name}: {text}"


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
