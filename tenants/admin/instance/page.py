"""What an instance's page shows, read in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import manage_command, markup
from common.markup import Tone
from common.text import counted, in_viewer_zone
from syncs.admin import badges
from syncs.engine import registry
from syncs.models import OPEN_STATES, RunTarget, SyncRun
from syncs.names import title_of
from syncs.reports import run_report
from syncs.status import queries, recent
from syncs.status.queries import Status, TargetStatus
from tenants.admin.ghost.badges import coverage_counts
from tenants.admin.instance import health_chart
from tenants.admin.instance.health_chart import HEALTH_TONES
from tenants.admin.instance.syncs import wish
from tenants.fleet.password_command import has_command
from tenants.ghosts import coverage
from tenants.health import condition, history, last_checks, overview
from tenants.health.condition import Condition
from tenants.health.findings import Level
from tenants.health.last_checks import Examined
from tenants.health.probe import describe_replica
from tenants.models import InstanceCheck, RdsInstance, Tenant

LEVEL_TONES: dict[Level, Tone] = {
    Level.OK: Tone.GOOD,
    Level.WARNING: Tone.WARNING,
    Level.ERROR: Tone.BAD,
}
TENANTS = "tenant_summaries"
Pairs = list[tuple[str, Any]]


@dataclass(frozen=True)
class SyncLine:
    """What one sync last did with the instance."""

    title: str
    state: SafeString
    counts: str
    run: SafeString
    confirmed: SafeString
    fresh: SafeString
    message: str


def response(request: HttpRequest, instance: RdsInstance) -> TemplateResponse:
    context = {
        **admin.site.each_context(request),
        "title": str(instance),
        "opts": RdsInstance._meta,
        "original": instance,
        "page": _context(instance),
    }
    return TemplateResponse(request, "tenants/instance_page.html", context)


def _context(instance: RdsInstance) -> dict[str, Any]:
    now = timezone.now()
    status = queries.shared_status()
    there = condition.of(instance, now, condition.checks_in(status.syncs))
    last = InstanceCheck.objects.filter(instance=instance).order_by("-minute").first()
    last_day = history.last_day(instance, now)
    return {
        "headline": _headline(instance, there, now),
        "old": there.notice(now) if there.is_old else "",
        "unread": (unread := _unread(instance, status)),
        "requested": _requested(instance) if unread else [],
        "health": health_chart.of(last_day, now),
        "check_facts": _check_facts(instance, last, now),
        "sync_lines": _sync_lines(instance, status, now),
        "coverage": _coverage(instance, now),
        "tenant_counts": _tenant_counts(instance, status, now),
        "examination": _examination(last_checks.last_of(instance), now),
        "commands": {
            "test": manage_command.line(f"check_fleet --rds {instance.pk}"),
            "check": manage_command.line(f"sync_instance_health --rds {instance.pk}"),
        },
    }


def use(instance: RdsInstance) -> SafeString:
    """Whether it is active, and whether it is the master."""
    active = markup.badge("active", Tone.GOOD) if instance.is_active else ""
    return format_html("{} {}", active, exceptional_use(instance))


def exceptional_use(instance: RdsInstance) -> SafeString:
    """That it is inactive, or the master, as most are not."""
    inactive = "" if instance.is_active else markup.badge("inactive", Tone.QUIET)
    master = markup.badge("master", Tone.BUSY) if instance.is_master else ""
    return format_html("{} {}", inactive, master)


def skew_in_words(skew_ms: float | None) -> str:
    """Its clock compared with ours, with the sign as a word."""
    if skew_ms is None:
        return ""
    side = "ahead of" if skew_ms > 0 else "behind"
    return f"{abs(skew_ms):,.0f} ms {side} ours"


def _headline(instance: RdsInstance, there: Condition, now: datetime) -> dict[str, Any]:
    tone = Tone.QUIET if there.is_old else HEALTH_TONES[instance.health]
    return {
        "health": markup.badge(instance.health, tone),
        "use": use(instance),
        "checked": markup.moment(instance.last_check_at, now),
        "error": in_viewer_zone(instance.last_error, now),
        "waits": overview.waits_for(instance),
    }


def _check_facts(instance: RdsInstance, last: InstanceCheck | None, now: datetime) -> Pairs:
    unknown = markup.quiet("unknown")
    in_use = unknown
    if last is not None and last.connections is not None:
        most = f"{last.max_connections:,}" if last.max_connections is not None else "?"
        in_use = format_html('<span class="number">{} of {}</span>', f"{last.connections:,}", most)
    return [
        ("server version", instance.server_version or unknown),
        ("latency", health_chart.milliseconds(last.latency_ms if last else None)),
        ("clock", skew_in_words(last.skew_ms if last else None) or unknown),
        ("connections in use", in_use),
        ("last check", markup.moment(instance.last_check_at, now)),
        ("address", f"{instance.host}:{instance.port}/{instance.database}"),
        ("role", _replication(instance)),
        ("TLS certificate", _certificate(instance.certificate_ends_at, instance, now)),
        ("CA certificate", _certificate(instance.ca_ends_at, instance, now)),
        ("password", "by a command" if has_command(instance.host) else "stored"),
        ("identity", instance.identity or markup.quiet("not met yet")),
        ("restored from a copy of", instance.copy_of or markup.quiet("no other instance")),
    ]


def _certificate(ends_at: datetime | None, instance: RdsInstance, now: datetime) -> Any:
    """Until when it is valid; unknown until the first health check that read it."""
    if ends_at is None:
        is_read = instance.certificate_read_at is not None
        return markup.quiet("none" if is_read else "unknown")
    return format_html("until {}", markup.moment(ends_at, now))


def _replication(instance: RdsInstance) -> Any:
    """Whether it is a replica, how far behind, and where ghost users are written."""
    if instance.is_replica is None:
        return markup.quiet("unknown")
    if not instance.is_replica:
        return "primary"
    writer = "{}:{}".format(*instance.writer) if instance.writer_host else "no writer address"
    return f"{describe_replica(instance.replica_lag_s)}; ghost users: {writer}"


def _unread(instance: RdsInstance, status: Status) -> list[str]:
    """Commands for the first sync, in their order, while nothing of it was ever confirmed."""
    key = str(instance.pk)
    mine = {sync.name: t for sync in status.syncs for t in sync.targets if t.key == key}
    if any(target.confirmed_at for target in mine.values()):
        return []
    return [run_report.command_line(registry.get(name), wish(instance, name)) for name in mine]


def _requested(instance: RdsInstance) -> list[SafeString]:
    """The runs that wait or run for this instance by name, each with its state."""
    named = {"state__in": OPEN_STATES, "options__targets__contains": [str(instance.pk)]}
    return [
        format_html("{} ({}, {})", badges.run_link(row.pk), title_of(row.sync), row.state)
        for row in SyncRun.objects.filter(**named).order_by("pk")
    ]


def _sync_lines(instance: RdsInstance, status: Status, now: datetime) -> list[SyncLine]:
    """Of the syncs that take this instance, and of those that once took it."""
    key = str(instance.pk)
    parts = recent.last_parts_of(key, [sync.name for sync in registry.scheduled_syncs()])
    lines = []
    for sync in status.syncs:
        target = next((target for target in sync.targets if target.key == key), None)
        if target is not None or sync.name in parts:
            lines.append(sync_line(sync.title, target, parts.get(sync.name), now))
    return lines


def sync_line(
    title: str, target: TargetStatus | None, part: RunTarget | None, now: datetime
) -> SyncLine:
    confirmed_at = target.confirmed_at if target else None
    why = badges.reason(target) if target else ""
    said = _said(part) if part else []
    return SyncLine(
        title=title,
        state=markup.badge(part.state, badges.TARGET_TONES[part.state])
        if part
        else markup.quiet("none"),
        counts=_counts(part) if part else "",
        run=_run_link(part, now) if part else markup.quiet("not in its last runs"),
        confirmed=markup.age(confirmed_at, now) if target else markup.quiet("takes no part"),
        fresh=badges.freshness_badge(target)
        if target
        else markup.badge("takes no part", Tone.QUIET),
        message="; ".join(filter(None, [*(line for line in said if line not in why), why])),
    )


def _said(part: RunTarget) -> list[str]:
    return [in_viewer_zone(said, part.run.created_at) for said in (part.note, part.error)]


def _counts(part: RunTarget) -> str:
    proposed = part.state == "held"
    known = [(name, getattr(part, name)) for name in run_report.COUNTS]
    counts = [run_report.describe_count(n, c, proposed=proposed) for n, c in known if c is not None]
    return ", ".join(counts)


def _run_link(part: RunTarget, now: datetime) -> SafeString:
    url = reverse("admin:syncs_syncrun_change", args=[part.run_id])
    ended = part.run.finished_at
    when = markup.age(ended, now) if ended else markup.quiet("running")
    return format_html('<a class="link" href="{}">run {}</a>, {}', url, part.run_id, when)


def _coverage(instance: RdsInstance, now: datetime) -> dict[str, Any]:
    wanted = coverage.wanted_ids()
    tally = coverage.by_instance(wanted, [instance])[instance.pk]
    named = {"instance__id__exact": instance.pk}
    return {
        "counts": coverage_counts(tally),
        "wanted": f"{len(wanted):,}",
        "confirmed": f"{tally.counts[coverage.Coverage.CONFIRMED]:,}",
        "seen": markup.age(tally.seen, now) if tally.seen else "",
        "problem": _problem(tally.problems),
        "url": reverse("admin:tenants_ghostuser_all", query=named),
    }


def _confirmed_at(status: Status, sync: str, instance: RdsInstance) -> datetime | None:
    key = str(instance.pk)
    targets = (target for one in status.syncs if one.name == sync for target in one.targets)
    return next((target.confirmed_at for target in targets if target.key == key), None)


def _problem(count: int) -> str:
    if not count:
        return ""
    return f"{count:,} need{'s' if count == 1 else ''} attention"


def _tenant_counts(instance: RdsInstance, status: Status, now: datetime) -> dict[str, Any]:
    rows: Any = Tenant.objects.filter(instance=instance).order_by().values("status")
    present, vanished = Count("pk", filter=Q(vanished_at=None)), Count("vanished_at")
    counted = rows.annotate(present=present, vanished=vanished)
    here = {row["status"]: row["present"] for row in counted if row["present"]}
    gone = sum(row["vanished"] for row in counted)
    named = {"instance__id__exact": instance.pk}
    return {
        "by_status": [(status, markup.number(here[status])) for status in sorted(here)],
        "any": bool(counted),
        "read": markup.age(_confirmed_at(status, TENANTS, instance), now),
        "all": markup.number(sum(here.values())),
        "vanished": markup.number(gone) if gone else "",
        "url": reverse("admin:tenants_tenant_changelist", query=named),
    }


def _examination(found: Examined | None, now: datetime) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "at": markup.moment(found.at, now),
        "summary": _gravity(found),
        "findings": [
            (markup.badge(finding.level, LEVEL_TONES[finding.level]), finding.text)
            for finding in found.findings
        ],
    }


def _gravity(found: Examined) -> str:
    errors, warnings = found.count(Level.ERROR), found.count(Level.WARNING)
    counts = [
        counted(errors, "error") if errors else "",
        counted(warnings, "warning") if warnings else "",
        f"{found.count(Level.OK)} as it should be",
    ]
    return ", ".join(filter(None, counts))
