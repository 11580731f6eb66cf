"""`POST /api/sync/<name>`: one sync, named in the address. Bakaláři is the documented one."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from api import requests
from api.doors import triggers
from api.doors.door import door, fields
from api.doors.services import SERVICES, scope_of_path
from api.doors.triggers import Sum, sum_up
from api.tokens import Caller


@door("POST", scope=scope_of_path)
def sync(request: HttpRequest, caller: Caller, name: str) -> HttpResponse:
    """Run the sync. A service that isn't set up has no connection: nothing is fetched."""
    fields(request)
    if name in SERVICES and not triggers.registered([name]):
        message = f"No connection of {name} exists: nothing was fetched"
        return JsonResponse(_document(name, sum_up([])) | {"message": message})
    return _answer(name, triggers.trigger(request, caller, [requests.find_sync(name)]))


@door("GET", scope="syncs:read")
def show(request: HttpRequest, caller: Caller, name: str, keys: str) -> HttpResponse:  # noqa: ARG001
    """How a run that `sync` requested goes on, with the same keys."""
    return _answer(name, triggers.look(request, [name], keys))


def _answer(name: str, done: Sum) -> HttpResponse:
    location = reverse("door_sync_run", args=[name, triggers.keys(done.runs)])
    return triggers.respond(done, _document(name, done), location)


def _document(name: str, done: Sum) -> dict[str, Any]:
    run = done.runs[0] if done.runs else None
    return {
        "runId": run and run.pk,
        "sync": name,
        "state": run and run.state,
        "success": done.success,
        "message": done.message,
        "created": done.added,
        "updated": done.changed,
        "deleted": done.removed,
        "successCount": done.succeeded,
        "failureCount": done.failed,
        **done.counts,
        "durationMs": done.milliseconds,
    }
