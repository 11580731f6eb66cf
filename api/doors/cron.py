"""The addresses that cron services call: sync, look how it went, delete old records."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from activity.address import address_of
from activity.log import record_by
from api.doors import monitoring, triggers
from api.doors.door import door, fields, parameter
from api.doors.services import BY_INTERVAL, PROVIDERS, scope_of_interval
from api.doors.triggers import Sum
from api.problems import Problem
from api.tokens import Caller
from common.clock import database_now
from syncs.engine import pruning, registry
from syncs.engine.pruning import Pruned
from syncs.engine.registry import Sync
from syncs.status import statistics
from syncs.status.statistics import Window

USUAL_HOURS = "24"
LONGEST_RETENTION = 36_500  # days
PRUNING_SECONDS = 15.0  # below what proxies and cron services wait


@door("GET", "POST", scope=scope_of_interval)
def sync_integrations(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Run the services of an interval, all services, or one sync. GET, too: Vercel sends that."""
    syncs = _of_interval(parameter(request, "interval"))
    fields(request)
    return _answer(triggers.trigger(request, caller, syncs))


@door("GET", scope="syncs:read")
def show_runs(request: HttpRequest, caller: Caller, keys: str) -> HttpResponse:  # noqa: ARG001
    """How runs that `sync_integrations` requested go on, with the same keys."""
    names = [sync.name for sync in registry.all_syncs()]
    return _answer(triggers.look(request, names, keys))


@door("GET", scope="syncs:read")
def show_monitoring(request: HttpRequest, caller: Caller) -> HttpResponse:  # noqa: ARG001
    hours = parameter(request, "timeRange", USUAL_HOURS)
    if not (re.fullmatch(r"[1-9][0-9]{0,2}", hours) and int(hours) <= statistics.LONGEST):
        raise Problem(422, f"timeRange is a number of hours from 1 to {statistics.LONGEST}.")
    return JsonResponse(monitoring.document(Window.of(int(hours), database_now())))


@door("POST", scope="runs:prune")
def clean_up(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Delete the records of old runs, except those that are still needed, for some seconds.

    Answers 409 while another request or process deletes them.
    """
    days = fields(request, "retentionDays").get("retentionDays")
    if type(days) is not int or not 1 <= days <= LONGEST_RETENTION:
        errors = [{"field": "retentionDays", "detail": f"a number from 1 to {LONGEST_RETENTION}"}]
        raise Problem(422, "Give retentionDays, the days to keep.", errors=errors)
    origin = address_of(request)

    def record(done: list[Pruned]) -> None:
        after = {"deleted": {pruned.what: pruned.count for pruned in done}}
        record_by(caller.actor, None, origin, "runs.pruned", f"{days} days", after=after)

    done = pruning.prune(database_now(), days, PRUNING_SECONDS, record)
    counts = {pruned.what: pruned.count for pruned in done}
    is_complete = all(pruned.complete for pruned in done)
    message = f"Deleted records of runs that ended more than {days} days ago"
    if not is_complete:
        message += f", for {PRUNING_SECONDS:g} seconds; more are left: repeat the request"
    document = {"message": message, "complete": is_complete, "retentionDays": days}
    return JsonResponse(document | {"deletedCount": counts["runs"], "deleted": counts})


def _of_interval(interval: str) -> list[Sync]:
    if not interval:
        return triggers.registered(PROVIDERS)
    if interval in BY_INTERVAL:
        return triggers.registered(BY_INTERVAL[interval])
    if (found := triggers.registered([interval])) or interval in PROVIDERS:
        return found
    known = ", ".join([*BY_INTERVAL, *(sync.name for sync in registry.all_syncs())])
    raise Problem(422, f"There is no such interval. There are {known}; without it, all services.")


def _answer(done: Sum) -> HttpResponse:
    document: dict[str, Any] = {
        "message": done.message if done.runs else "No provider is connected: nothing to sync",
        "success": done.success,
        "usersProcessed": done.owners,
        "providersSync": done.succeeded + done.failed,
        "successCount": done.succeeded,
        "failureCount": done.failed,
        **done.counts,
        "durationMs": done.milliseconds,
        "runs": done.documents,
    }
    location = reverse("door_runs", args=[triggers.keys(done.runs)]) if done.runs else ""
    return triggers.respond(done, document, location)
