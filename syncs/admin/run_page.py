"""What a run's page shows, read in a fixed number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from common import clock, manage_command, markup
from common.errors import UsageError
from common.markup import seconds_in_words
from common.refreshing import REFRESH
from common.text import counted, format_duration, in_viewer_zone, listed
from syncs.admin import (
    badges,
    held_changes,
    held_tenants,
    run_actions,
    run_targets,
    withheld_rows,
)
from syncs.engine import registry
from syncs.engine.host import machine
from syncs.engine.options import Options
from syncs.engine.parts import waiting
from syncs.models import RunState, RunTarget, SyncRun
from syncs.names import title_of
from syncs.reports import run_report
from syncs.status import queries, recent

SHOWN_LINES = 300
LISTED = 20  # targets that the options name: a look at what is due names thousands
NAMED = 3  # instances that are named on a button


@dataclass(frozen=True)
class Retry:
    """The button that retries what failed. touches: what it includes; in_progress: who does it."""

    label: str
    touches: str
    command: str
    needs_accept: bool
    in_progress: SafeString | None


def context(request: HttpRequest, record: Any) -> dict[str, Any]:
    """All that the page and its refreshed part show. The record has its summary."""
    now = clock.database_now()
    parts = list(record.targets.all())
    parts += waiting(record, {part.target for part in parts})
    pages = run_targets.pages_of(record, parts, request.user.has_perm)
    lines = list(record.log.order_by("-id")[: SHOWN_LINES + 1])
    return {
        "original": record,
        "refreshed": markup.exact(now).partition(" ")[2],
        "badge": badges.run_badge(record.state, discarded=record.discarded_at is not None),
        "sentence": _sentence(record, parts, now),
        "progress": run_targets.progress(parts),
        "columns": run_report.COUNTS,
        "parts": run_targets.shown(record, parts, pages),
        "rolled_up": run_targets.rolled_up(record),
        "more_parts": max(0, len(parts) - run_targets.MOST_PARTS),
        "cancel_command": manage_command.line(f"cancel_run {record.pk}"),
        "held": held_changes.read(record, parts, pages),
        "by_tenant": held_tenants.read(record, parts, request.user.has_perm),
        "retry": _retry(record, parts),
        "withheld": withheld_rows.section(record, request.user.has_perm),
        "log": [
            (line, in_viewer_zone(line.message, line.at)) for line in lines[:SHOWN_LINES][::-1]
        ],
        "more_log": len(lines) > SHOWN_LINES,
        "facts": facts(record, now),
    }


def live_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """What live.js fetches again and again; a person is led to the whole page."""
    page = reverse("admin:syncs_syncrun_change", args=[pk])
    pages: Any = admin.site.get_model_admin(SyncRun)
    if not pages.has_view_or_change_permission(request):
        raise PermissionDenied
    record = pages.get_object(request, str(pk))
    if record is None or REFRESH not in request.headers:
        return HttpResponseRedirect(page)
    return render(request, "syncs/run_page.html", context(request, record))


def asked_by(record: SyncRun) -> str:
    return f"{record.trigger}: {record.actor}" if record.actor else record.trigger


def facts(record: SyncRun, now: datetime) -> list[tuple[str, str | SafeString]]:
    """Who asked for what, when and where it went on, and the runs around it."""
    return [
        ("requested by", _who(record)),
        ("options", options_in_words(record)),
        ("command to repeat", _repeat(record)),
        ("scheduled for", markup.moment(record.slot, now, missing="not scheduled")),
        ("requested", markup.moment(record.created_at, now)),
        *([("not before", markup.moment(record.not_before, now))] if record.not_before else []),
        ("started", markup.moment(record.started_at, now, missing="not started")),
        ("ended", markup.moment(record.finished_at, now, missing="not ended")),
        ("duration", _took(record)),
        ("host", _place(record)),
        ("attempt", str(record.attempt)),
        *_cancelling(record, now),
        *_discarding(record, now),
        *_around(record),
        ("other runs", related(record)),
    ]


def _place(record: SyncRun) -> str:
    return f"{machine(record.host)}, process {record.pid}" if record.host else "none"


def options_in_words(record: SyncRun) -> str:
    try:
        options = Options.from_json(record.options)
    except (UsageError, TypeError) as error:
        return str(error)
    wishes = [
        f"instances {listed(options.targets, LISTED)}" if options.targets else "all instances",
        f"only {_only(record.sync, options.only)}" if options.only else "",
        "forced" if options.force else "",
        "dry run: nothing is written" if options.dry_run else "",
        f"what failed in run {options.failed_from}" if options.failed_from else "",
        f"accepts run {options.accept_held}: {options.reason}" if options.accept_held else "",
    ]
    return "; ".join(filter(None, wishes))


def _only(sync: str, keys: tuple[str, ...]) -> str:
    try:
        in_words = registry.get(sync).describe_only
    except UsageError:  # a sync that the code no longer knows
        in_words = None
    return in_words(keys) if in_words else ", ".join(keys)


def related(record: SyncRun) -> SafeString:
    named = [
        ("met", record.met_id),
        ("superseded by", record.superseded_by_id),
        ("accepted by", record.accepted_by_id),
        ("accepts", record.options.get("accept_held")),
        ("retries what failed in", record.options.get("failed_from")),
    ]
    lines = [(label, badges.run_link(pk)) for label, pk in named if isinstance(pk, int)]
    return format_html_join(", ", "{} {}", lines) if lines else markup.quiet("none")


def _sentence(record: Any, parts: list[RunTarget], now: datetime) -> str:
    """`E-mail routes: running for 12 s, usually 11 s; 1 of 3 instances done.`"""
    name = title_of(record.sync)
    if record.state == RunState.QUEUED:
        if record.not_before and record.not_before > now:
            return f"{name}: to begin in {format_duration(record.not_before - now)}."
        waited = format_duration(now - record.created_at)
        return f"{name}: has waited for a worker for {waited}. {_why_it_waits(record)}."
    if record.state == RunState.RUNNING:
        so_far = (
            format_duration(now - record.started_at) if record.started_at else "an unknown time"
        )
        usual = recent.usual_seconds(record.sync)
        usually = f", usually {seconds_in_words(usual)}" if usual else ""
        done = run_targets.progress(parts).text
        return f"{name}: running for {so_far}{usually}; {done}."
    summary = record.summary or "no instance took part"
    return f"{name}: {summary}."


def _why_it_waits(record: SyncRun) -> str:
    worker = queries.worker_state()
    if not worker.busy_with or worker.unresponsive:
        return worker.outlook
    ahead = SyncRun.objects.filter(state=RunState.QUEUED, pk__lt=record.pk, not_before=None).count()
    more = f" and have {counted(ahead, 'run')} to do before it" if ahead else ""
    return f"Workers are busy with run {worker.busy_with}{more}"


def _retry(record: SyncRun, parts: list[RunTarget]) -> Retry | None:
    try:
        sync = registry.get(record.sync)
    except UsageError:  # a sync that the code no longer knows
        return None
    options = run_report.retry_options(record, sync)
    if options is None:
        return None
    undone = [part.label for part in parts if part.state in run_report.UNDONE]
    few = bool(undone) and options.failed_from == record.pk
    failed = counted(len(undone), "instance")
    takes = f"{listed(undone, NAMED)} alone" if few else "everything that this run included"
    other = run_actions.retry_in_progress(record, options)
    return Retry(
        label=f"Retry the {failed} that failed" if few else "Run it again",
        touches=f"Includes {takes}.",
        command=run_report.command_line(sync, options),
        needs_accept=options.accept_held is not None,
        in_progress=badges.run_link(other.pk, f"Run {other.pk}") if other else None,
    )


def _who(record: SyncRun) -> str | SafeString:
    if not record.actor:
        return record.trigger
    url = reverse("admin:syncs_syncrun_changelist", query={"actor": record.actor})
    return format_html('{}: <a class="link" href="{}">{}</a>', record.trigger, url, record.actor)


def _repeat(record: SyncRun) -> SafeString:
    try:
        return format_html('<code class="command">{}</code>', run_report.repeat_command(record))
    except UsageError as error:
        return markup.quiet(str(error))


def _took(record: SyncRun) -> SafeString:
    """`12.3 s, usually 11.0 s`."""
    usual = recent.usual_seconds(record.sync)
    usually = f"usually {seconds_in_words(usual)}" if usual else ""
    took = seconds_in_words(record.seconds) if record.seconds is not None else ""
    text = ", ".join(filter(None, [took, usually]))
    return format_html('<span class="number">{}</span>', text) if text else markup.quiet("–")


def _around(record: SyncRun) -> list[tuple[str, SafeString]]:
    """The run of the same sync before it, and the one after it."""
    same = SyncRun.objects.filter(sync=record.sync).values_list("pk", "state", "discarded_at")
    before = same.filter(pk__lt=record.pk).order_by("-pk").first()
    after = same.filter(pk__gt=record.pk).order_by("pk").first()
    named = (("previous run", before), ("next run", after))
    return [(label, _beside(*run) if run else markup.quiet("none")) for label, run in named]


def _beside(pk: int, state: str, discarded_at: datetime | None) -> SafeString:
    badge = badges.run_badge(state, discarded=discarded_at is not None)
    return format_html("{} {}", badges.run_link(pk), badge)


def _cancelling(record: SyncRun, now: datetime) -> list[tuple[str, SafeString]]:
    if record.cancel_requested_at is None:
        return []
    by = record.cancel_requested_by or "a user"
    by_whom = format_html("by {}, {}", by, markup.moment(record.cancel_requested_at, now))
    return [("cancellation requested", by_whom)]


def _discarding(record: SyncRun, now: datetime) -> list[tuple[str, SafeString]]:
    if record.discarded_at is None:
        return []
    at = markup.moment(record.discarded_at, now)
    text = format_html("by {}, {}: {}", record.discarded_by, at, record.discard_reason)
    return [("discarded", text)]
