"""The first page: is anything wrong, and why?

The page and its refreshed part are made of the same facts. Each part is there only for those
users with the permission to see its data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from common import clock, manage_command, markup
from common.markup import Tone
from common.model_admin import REFRESH
from rainbo.dashboard import instance_cards, sync_rows, verdict
from syncs.admin import badges
from syncs.reports import problem_links
from syncs.status import problems, queries
from syncs.status.problems import Link
from syncs.status.sync_problems import SYNCS
from syncs.status.workers import WorkerState
from tenants.health.problems import INSTANCES

NAMED = 4  # other problems that are listed below the status
EVENTS = 3

admin.site.index_title = "Now"


@dataclass(frozen=True)
class ProblemLink:
    """Another problem than the worst, with where to look."""

    text: str
    url: str


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's hook: what the admin's index shows in its frame."""
    return context | parts(request)


def fragment(request: HttpRequest) -> HttpResponse:
    """What live.js fetches again and again; a person is led to the whole page."""
    if REFRESH not in request.headers:
        query = request.META.get("QUERY_STRING", "")
        return HttpResponseRedirect(reverse("admin:index") + (f"?{query}" if query else ""))
    return render(request, "rainbo/now.html", parts(request))


def parts(request: HttpRequest) -> dict[str, Any]:
    """Return what the page shows this user, in a fixed number of queries."""
    may = request.user.has_perm
    now = clock.database_now()
    facts = problems.read(now, may)
    judged = verdict.render(facts)
    syncs, instances = facts.of(SYNCS), facts.of(INSTANCES)
    status, worker = (syncs.status, syncs.status.worker) if syncs else (None, None)
    fleet = instances.fleet if instances else None
    context: dict[str, Any] = {
        "now": now,
        "refreshed": markup.exact(now).partition(" ")[2],
        "verdict": judged if facts.known else None,
        "verdict_badge": markup.badge(judged.word, judged.tone),
        "verdict_url": url_of(judged.link) if judged.link else "",
        "others": [ProblemLink(p.sentence, url_of(p.link)) for p in judged.others[:NAMED]],
        "more_others": max(0, len(judged.others) - NAMED),
        "fleet": fleet,
        "add_instance": manage_command.line("add_instance"),
    }
    if status and worker:
        context["syncs"] = sync_rows.rows(status, may_run=may("syncs.run_sync"))
        context["worker"] = _worker(worker, now)
    if fleet and fleet.instances:
        context["cards"] = instance_cards.drawn(fleet, status, request.GET.get("instance", ""), now)
    return context


def _worker(state: WorkerState, now: datetime) -> dict[str, Any]:
    word, tone = ("problem", Tone.BAD) if state.problem else ("working", Tone.GOOD)
    if state.busy_with:
        word, tone = "busy", Tone.BUSY
    elif state.by_crontab:
        word, tone = "none", Tone.QUIET
    return {
        "badge": markup.badge(word, tone),
        "heartbeat": markup.age(state.heartbeat, now),
        "problem": "" if state.by_crontab else state.problem,
        "by_crontab": state.by_crontab,
        "busy_with": state.busy_with,
        "busy_url": badges.run_url(state.busy_with) if state.busy_with else "",
        "waiting": state.waiting_since and markup.age(state.waiting_since, now),
        "events": [
            (markup.moment(e.at, now), e.host, e.message) for e in queries.worker_events(EVENTS)
        ],
        "command": manage_command.line("schedule_work"),
    }


def url_of(link: Link) -> str:
    """Return where to look; of a part of the first page, its anchor alone."""
    path, anchor, part = problem_links.path(link.kind, link.key).partition("#")
    return f"{anchor}{part}" if part else path
