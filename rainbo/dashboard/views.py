"""The first page: is anything wrong, and why?

The page and its refreshed part are made of the same facts. Each part is there only for those
users with the permission to see its data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from common import manage_command, markup
from common.markup import Tone
from common.refreshing import REFRESH
from common.shared import Shared
from common.text import in_viewer_zone
from rainbo.dashboard import instance_cards, sync_rows, verdict
from syncs.admin import badges
from syncs.reports import problem_links
from syncs.status import problems, queries
from syncs.status.problems import Link
from syncs.status.sync_problems import SYNCS
from syncs.status.workers import WorkerState
from tenants.health.problems import INSTANCES

NAMED = 3  # other problems that are listed below the status
MOST = 1_000  # of them, on the page of all
EVENTS = 3
REFRESHED = "X-Rainbo-Refreshed"  # when what is the same was seen to be so

admin.site.index_title = "Now"


@dataclass(frozen=True)
class ProblemLink:
    """Another problem than the worst, with where to look."""

    text: str
    url: str


@dataclass(frozen=True)
class Part:
    """What is refreshed, as HTML. etag: another one if it shows anything else."""

    html: SafeString
    etag: str
    refreshed: str


_shared: Shared[Part] = Shared()
_INSTANCES = "(SELECT concat_ws('/', count(*), sum(xmin::text::bigint)) FROM rds_instances)"


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's hook: what the admin's index shows in its frame."""
    return context | {"part": part(request)}


def fragment(request: HttpRequest) -> HttpResponse:
    """What live.js fetches again and again; a person is led to the whole page."""
    if REFRESH not in request.headers:
        query = request.META.get("QUERY_STRING", "")
        return HttpResponseRedirect(reverse("admin:index") + (f"?{query}" if query else ""))
    shown = part(request)
    is_same = request.headers.get("If-None-Match") == shown.etag
    answer = HttpResponse(status=304) if is_same else HttpResponse(shown.html)
    answer["ETag"], answer[REFRESHED] = shown.etag, shown.refreshed
    return answer


def part(request: HttpRequest) -> Part:
    """Return what the page shows this user, made at most a second ago.

    It is made once for all viewers in this process who see the same: those with the same
    permissions, the same time zone and the same search. Nothing else of the request goes into it.
    It is made again as soon as anything was confirmed or asked for, a schedule or an instance
    changed.
    """
    user, term = request.user, request.GET.get("instance", "").strip()
    is_all = request.GET.get("problems") == "all"
    version, now = queries.version(_INSTANCES)
    permissions = None if user.is_superuser else frozenset(user.get_all_permissions())
    key = (version, permissions, timezone.get_current_timezone_name(), term, is_all)
    return _shared.get(key, lambda: _made(user.has_perm, term, now, is_all=is_all))


def _made(may: Callable[[str], bool], term: str, now: datetime, *, is_all: bool) -> Part:
    html = render_to_string("rainbo/now_parts.html", parts(may, term, now, is_all=is_all))
    etag = f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'
    refreshed = markup.exact(now).partition(" ")[2]
    shell = {"parts": html, "refreshed": refreshed, "etag": etag}
    return Part(render_to_string("rainbo/now.html", shell), etag, refreshed)


def parts(
    may: Callable[[str], bool], term: str, now: datetime, *, is_all: bool = False
) -> dict[str, Any]:
    """Return what the page shows people with these permissions, in a fixed number of queries.

    is_all: with all problems, not the first of them.
    """
    facts = problems.read(now, may)
    judged = verdict.render(facts)
    named = MOST if is_all else NAMED
    syncs, instances = facts.of(SYNCS), facts.of(INSTANCES)
    status, worker = (syncs.status, syncs.status.worker) if syncs else (None, None)
    fleet = instances.fleet if instances else None
    context: dict[str, Any] = {
        "verdict": judged if facts.known else None,
        "verdict_badge": markup.badge(judged.word, judged.tone),
        "verdict_url": url_of(judged.link) if judged.link else "",
        "sentence": in_viewer_zone(judged.sentence, now),
        "others": [
            ProblemLink(in_viewer_zone(p.sentence, now), url_of(p.link))
            for p in judged.others[:named]
        ],
        "more_others": max(0, len(judged.others) - named),
        "all_url": reverse("admin:index", query={"problems": "all"}),
        "fleet": fleet,
        "add_instance": manage_command.line("add_instance"),
        "may_add_instance": may("tenants.add_rdsinstance"),
    }
    if status and worker:
        context["syncs"] = sync_rows.rows(status, judged.found, may)
        context["worker"] = _worker(worker, now)
    if fleet and fleet.instances:
        context["cards"] = instance_cards.drawn(fleet, status, term, now)
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
        "problem": "" if state.by_crontab else in_viewer_zone(state.problem, now),
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
