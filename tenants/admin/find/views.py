"""Where does this e-mail live? The page that answers, from the cache or live."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from activity.log import record
from common import manage_command, markup
from common.errors import UsageError
from common.text import counted, in_viewer_zone, sentence
from syncs.admin.badges import FRESHNESS_TONES, run_url
from tenants.admin.find import live_view
from tenants.admin.find.rows import ResultGroup, Viewer, kinds
from tenants.admin.instance.condition import notices
from tenants.find import live_lookup, part_search, places
from tenants.find.live_answers import LIMIT, LiveLookup
from tenants.find.lookup import Cache, Lookup
from tenants.find.search import Found, search
from tenants.fleet.live_limit import Busy, live_slot

LOOK, ASK = "tenants.view_userroute", "tenants.check_instance"
NOTICES = 5  # of instances; rows are marked, too
MOST = 100  # accounts of one e-mail; the list of routes has the others


@require_http_methods(["GET", "HEAD", "POST"])
def view(request: HttpRequest) -> HttpResponse:
    """GET answers from the cache; POST asks the master and the instances, too."""
    if not request.user.has_perms([LOOK, ASK] if request.method == "POST" else [LOOK]):
        raise PermissionDenied
    term = request.GET.get("q", "")
    context = {**admin.site.each_context(request), "title": "Find", "term": term}
    try:
        found = search(term) if term.strip() else None
    except UsageError as error:
        found = None
        context["error"] = sentence(str(error))
    if found is not None:
        live = None
        try:
            live = _ask(request, found.exact) if request.method == "POST" else None
        except Busy as error:
            context |= {"busy": str(error)}
        context |= _answer(request, found, live)
    return TemplateResponse(request, "rainbo/find.html", context)


def _ask(request: HttpRequest, found: Lookup) -> LiveLookup:
    with live_slot():
        live = live_lookup.ask(found)
    after = {
        "asked": ["the master", *(there.label for there in live.instances.values())],
        "accounts on the master": len(live.master.rows),
        "accounts on instances": sum(len(there.rows) for there in live.instances.values()),
        "without an answer": live.problems,
    }
    record(request, "email.looked_up_live", found.email, after=after)
    return live


def _answer(request: HttpRequest, found: Found, live: LiveLookup | None) -> dict[str, Any]:
    exact, now, viewer = found.exact, timezone.now(), Viewer.of(request, found)
    is_email = found.is_email or live is not None
    conditions = places.conditions(found, now)
    said = notices(request, conditions, now)
    accounts = [viewer.row(route, now) for route in exact.shown[:MOST]]
    withheld = [viewer.row(route, now) for route in exact.withheld[:MOST]]
    return {
        "term": found.term,
        "is_email": is_email,
        "result": _result(exact, live),
        "cache": _cache(exact.cache, now),
        "instance_notices": said[:NOTICES],
        "more_notices": max(0, len(said) - NOTICES),
        "accounts": ResultGroup("accounts", "", tuple(accounts)),
        "more_accounts": max(0, len(exact.shown) - MOST),
        "withheld": ResultGroup("withheld", "", tuple(withheld)),
        "removals": [viewer.removal(removal, now) for removal in exact.removals],
        "why": [sentence(in_viewer_zone(reason, timezone.now())) for reason in exact.why],
        "touches": _touches(exact),
        "live_command": manage_command.line(f"find_user --live {manage_command.term(found.term)}"),
        "json_command": manage_command.line(
            f"find_user --live --json {manage_command.term(found.term)}"
        ),
        "live": live_view.shown(exact, live) if live else None,
        "kinds": kinds(found, viewer, conditions, now),
        "is_name": "@" not in found.term,
        "is_cut": found.is_cut,
        "parts_hint": "" if found.has_parts else part_search.hint(),
        "begin_url": reverse("admin:tenants_userroute_changelist", query={"q": f"{found.term}*"}),
        "exact_url": reverse("admin:tenants_userroute_changelist", query={"q": found.term}),
    }


def _result(found: Lookup, live: LiveLookup | None) -> str:
    """`3 accounts in 3 tenants on 2 instances.`"""
    if found.shown:
        tenants = {(route.instance_id, route.tenant_id) for route in found.shown}
        instances = {route.instance_id for route in found.shown}
        return (
            f"{counted(len(found.shown), 'account')} in {counted(len(tenants), 'tenant')} on "
            f"{counted(len(instances), 'instance')}."
        )
    if live is not None and live.is_found:
        return "No account in the cache, but found live."
    return "No account that readers see." if found.withheld else "No account."


def _cache(cache: Cache, now: datetime) -> dict[str, Any]:
    return {
        "state": markup.badge(cache.state.label, FRESHNESS_TONES[cache.state]),
        "synced": markup.moment(cache.synced_at, now, missing="never"),
        "remarks": [
            (sentence(str(remark)), run_url(remark.run) if remark.run else "")
            for remark in cache.remarks
        ],
        "runs_url": f"{reverse('admin:syncs_syncrun_changelist')}?sync=user_routing",
    }


def _touches(found: Lookup) -> str:
    """What the button reads, in numbers."""
    places = {route.instance_id for route in found.shown + found.withheld}
    also = counted(min(len(places), live_lookup.AT_ONCE), "instance") if places else ""
    return (
        f"Reads the master and {also or 'the instances that it names'}, and writes nothing there. "
        f"Takes at most {LIMIT:g} s."
    )
