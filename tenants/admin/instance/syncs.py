"""What the list of instances shows of each: how fresh every sync has it, and its tenants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from common import markup
from common.markup import Tone
from syncs.admin.badges import FRESHNESS_TONES, reason
from syncs.admin.run_requests import request_run
from syncs.engine import registry
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.models import Confirmation
from syncs.status import queries
from syncs.status.queries import TargetStatus
from tenants.health.condition import HEALTH
from tenants.models import RdsInstance

RUN = "syncs.run_sync"
SUMMARIES = "tenant_summaries"
SHORT = {
    "tenant_summaries": "tenants",
    "user_routing": "routes",
    "ghost_users": "ghosts",
}


def complete(rows: Sequence[Any]) -> None:
    """Give each instance the statuses of its syncs, and the tenants that were last read there."""
    found: dict[str, dict[str, TargetStatus]] = {}
    if rows:
        for sync in queries.shared_status().syncs:
            for target in sync.targets:
                found.setdefault(target.key, {})[sync.name] = target
    keys = [str(row.pk) for row in rows]
    confirmed = Confirmation.objects.filter(sync=SUMMARIES, target__in=keys)
    tenants = dict(confirmed.values_list("target", "rows"))
    for row in rows:
        row.statuses = found.get(str(row.pk), {})
        row.tenant_count = tenants.get(str(row.pk))


def wish(instance: RdsInstance, sync: str) -> Options:
    """What a run of this instance alone takes; forced where a run leaves out what is fresh."""
    if not registry.get(sync).in_parts:
        return Options()
    return Options(targets=(str(instance.pk),), force=sync == SUMMARIES)


def syncs_of(instance: RdsInstance) -> list[Sync]:
    """The fleet's syncs that take this instance, in their order."""
    key = str(instance.pk)
    return [
        sync
        for sync in registry.scheduled_syncs()
        if any(target.key == key for target in sync.targets())
    ]


@require_POST
def sync_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Request a run of each of its syncs, for this instance alone; a worker executes them."""
    if not request.user.has_perm(RUN):
        raise PermissionDenied
    instance = get_object_or_404(RdsInstance, pk=pk)
    if not instance.is_active:
        messages.error(request, f"{instance} is not active: no sync includes it.")
    for sync in syncs_of(instance):
        request_run(request, sync.name, wish(instance, sync.name), linked=True)
    return HttpResponseRedirect(reverse("admin:tenants_rdsinstance_change", args=[pk]))


def in_line(statuses: Mapping[str, TargetStatus]) -> SafeString:
    """Each sync with the age of its confirmation; what isn't on time has its state in a word."""
    if not statuses:
        return markup.quiet("not synced: disabled")
    now = timezone.now()
    lines = [
        (SHORT.get(name, name), markup.age(target.confirmed_at, now), _unless_on_time(target))
        for name, target in statuses.items()
        if name != HEALTH  # has columns of its own
    ]
    shown = format_html_join("", "<li><span>{}</span> {} {}</li>", lines)
    return format_html('<ul class="sync-ages">{}</ul>', shown)


def _unless_on_time(target: TargetStatus) -> SafeString | str:
    state = target.freshness.state
    tone = FRESHNESS_TONES[state]
    if tone is Tone.GOOD:
        return ""
    return markup.badge(state.label, tone, reason(target))
