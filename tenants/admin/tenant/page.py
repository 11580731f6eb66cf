"""A tenant's page: what is known of it and how sure that is, in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity import queries as activity
from common import manage_command, markup, model_admin
from common.markup import Tone
from common.text import in_viewer_zone
from syncs.models import Confirmation
from syncs.status import queries, recent
from syncs.status.queries import SyncStatus
from tenants.admin.ghost.badges import coverage_badge
from tenants.admin.instance.condition import badge, notices
from tenants.admin.instance.page import sync_line
from tenants.admin.tenant import (
    badges,
    comparison,
    contact,
    count_chart,
    support_access,
    users,
    week,
)
from tenants.ghosts import coverage, policy
from tenants.health import condition
from tenants.models import GhostUser, Tenant
from tenants.models.tenant import TenantChange
from tenants.routes.queries import ROUTING
from tenants.summaries import history
from tenants.summaries.freshness import SUMMARIES
from tenants.summaries.history import Past
from tenants.summaries.live_tenant import LIMIT, LiveTenant

KIND_TONES: dict[str, Tone] = {
    TenantChange.Kind.STATUS: Tone.BUSY,
    TenantChange.Kind.NAME: Tone.QUIET,
    TenantChange.Kind.VANISHED: Tone.BAD,
    TenantChange.Kind.BACK: Tone.GOOD,
}


@dataclass(frozen=True)
class HistoryEntry:
    """One line of its history."""

    at: SafeString
    kind: SafeString
    text: str
    run: SafeString


def response(
    request: HttpRequest, tenant: Tenant, live: LiveTenant | None = None
) -> TemplateResponse:
    """live: the instance's answer, if it was just read live."""
    now = timezone.now()
    status = {sync.name: sync for sync in queries.shared_status().syncs}
    there = condition.of(tenant.instance, now, status[condition.HEALTH])
    context = {
        **admin.site.each_context(request),
        "title": tenant.name or f"tenant {tenant.remote_id}",
        "opts": Tenant._meta,
        "original": tenant,
        "status": badges.status_badge(tenant),
        "instance_badge": badge(there, now),
        "instance_notices": notices(request, [there], now),
        "fresh": _freshness(tenant, status[SUMMARIES], now),
        "fields": comparison.fields(tenant, live, now),
        "live_limit": LIMIT,
        "answer": comparison.answer(tenant, live, now) if live else None,
        "sync": _sync(tenant, status[SUMMARIES]),
        "address": _address_of(tenant),
        "days": (days := history.daily_counts(tenant, now)),
        "numbers": days[::-1],
        "charts": count_chart.charts(days),
        "entries": activity.of_row(tenant),
        "all": model_admin.activity_page(Tenant._meta.label_lower, tenant.pk),
        **users.part(request, tenant, status[ROUTING], now),
        **contact.part(request, tenant),
        **_changes(request, tenant, days, now),
        **_door(request, tenant, now),
        **support_access.part(request, tenant),
    }
    return TemplateResponse(request, "tenants/tenant_page.html", context)


def _freshness(tenant: Tenant, sync: SyncStatus, now: datetime) -> dict[str, Any]:
    key = str(tenant.instance_id)
    target = next((target for target in sync.targets if target.key == key), None)
    part = recent.last_parts_of(key, [SUMMARIES]).get(SUMMARIES)
    reason = f"{tenant.instance} is disabled"
    if target:
        reason = in_viewer_zone(str(target.reason or ""), now)
    line = sync_line(sync.title, target, part, now)
    return {
        "state": badges.summary_freshness(target),
        "reason": reason,
        "refreshed": markup.moment(tenant.cache_refreshed_at, now),
        "next": markup.moment(sync.next_slot, now) if target and sync.next_slot else None,
        "line": replace(line, message="") if line.message in reason else line,
    }


def _sync(tenant: Tenant, sync: SyncStatus) -> dict[str, Any]:
    """What the button will touch, in numbers, and the command that does the same."""
    rows = Confirmation.objects.filter(sync=SUMMARIES, target=str(tenant.instance_id))
    return {
        "tenants": rows.values_list("rows", flat=True).first(),
        "command": manage_command.line(f"sync_tenant_summaries --rds {tenant.instance_id} --force"),
        "running": sync.running,
    }


def _changes(
    request: HttpRequest, tenant: Tenant, days: list[history.Day], now: datetime
) -> dict[str, Any]:
    may_see_runs = request.user.has_perm("syncs.view_syncrun")
    found, more = history.changes(tenant)
    shown = [_change(past, now, may_see_runs=may_see_runs) for past in found]
    recent = week.lines(request, tenant, days, found, now)
    return {"changes": shown, "more_changes": more, "week": recent}


def _change(past: Past, now: datetime, *, may_see_runs: bool) -> HistoryEntry:
    change = past.change
    texts = {
        TenantChange.Kind.VANISHED: "its instance no longer had it",
        TenantChange.Kind.BACK: "its instance has it again",
    }
    run = f"run {change.run_id}"
    if not past.run_is_kept:
        link = format_html('{} <span class="quiet">(pruned)</span>', run)
    elif may_see_runs:
        url = reverse("admin:syncs_syncrun_change", args=[change.run_id])
        link = format_html('<a class="link" href="{}">{}</a>', url, run)
    else:
        link = format_html("{}", run)
    return HistoryEntry(
        at=markup.moment(change.at, now),
        kind=markup.badge(change.kind, KIND_TONES[change.kind]),
        text=texts.get(TenantChange.Kind(change.kind)) or _moved(change),
        run=link,
    )


def _moved(change: TenantChange) -> str:
    return f"{change.before or 'empty'} → {change.after or 'empty'}"


def _address_of(tenant: Tenant) -> str:
    """The tenant's own address, by its instance's template; else that of the instance.

    Empty for what is no address of the web, which no form and no command lets through.
    """
    template = tenant.instance.tenant_url
    found = template.replace("{tenant}", quote(tenant.remote_id, safe=""))
    found = found or tenant.instance.app_url
    return found if found.startswith(("https://", "http://")) else ""


def _door(request: HttpRequest, tenant: Tenant, now: datetime) -> dict[str, Any]:
    """Whether the person's own ghost user can enter the tenant's instance."""
    if not request.user.has_perm(policy.PERMISSION):
        return {}
    at = tenant.instance
    person = policy.Admin(request.user.pk or 0, request.user.get_username())
    ghost = GhostUser.objects.filter(admin_id=person.id, instance=at).first()
    confirmed = ghost.confirmed if ghost else None
    judged = coverage.judge(confirmed, wanted=True, kept=at.keeps_ghosts)
    return {
        "door": {
            "state": coverage_badge(judged),
            "meaning": coverage.MEANINGS[judged],
            "seen": markup.age(ghost.confirmed_at if ghost else None, now, missing="never seen"),
            "account": person.email,
        }
    }
