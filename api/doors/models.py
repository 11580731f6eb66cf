"""The addresses of model catalogues and their prices."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from api.doors import triggers
from api.doors.door import door, fields, parameter
from api.doors.services import MODELS
from api.doors.triggers import Sum
from api.models import ApiToken
from api.problems import Problem
from api.tokens import PREFIX, Caller
from common.clock import iso
from integrations import model_queries, verification
from syncs.engine.registry import Sync
from syncs.models import RunState, SyncRun

CRON_KEY = "cron"  # stands for the public id that RAINBO_CRON_SECRET doesn't have
STATUS = {
    RunState.QUEUED: "queued",
    RunState.RUNNING: "running",
    RunState.SUCCEEDED: "completed",
}  # every other end is "failed"


@door("POST", scope="models:run")
def sync_all(request: HttpRequest, caller: Caller) -> HttpResponse:
    fields(request)
    return _answer(triggers.trigger(request, caller, [_catalogue()]))


@door("GET", scope="syncs:read")
def show_sync(request: HttpRequest, caller: Caller, keys: str) -> HttpResponse:  # noqa: ARG001
    """How a run that `sync_all` requested goes on, with the same keys."""
    return _answer(triggers.look(request, [MODELS], keys))


@door("GET", scope="syncs:read")
def show_status(request: HttpRequest, caller: Caller) -> HttpResponse:  # noqa: ARG001
    """How many models are listed, null before the first catalogue was read, and the last run.

    minimum: whether there are as many; an unknown number is too few.
    """
    minimum = _minimum(request)
    _catalogue()
    counts = model_queries.count_models()
    stats = {
        "total_active": counts and counts.listed,
        "missing": counts and counts.missing,
        "delisted": counts and counts.delisted,
        "with_price": counts and counts.priced,
    }
    last = SyncRun.objects.filter(sync=MODELS).first()
    run = last and {"runId": last.pk, "state": last.state, "finishedAt": iso(last.finished_at)}
    document: dict[str, Any] = {"models": {"stats": stats, "last_run": run}}
    if minimum is not None:
        found = verification.verify_models(minimum)
        document |= {"success": found.is_enough, "message": found.sentence}
    return JsonResponse(document)


@door("POST", scope="models:run")
def sync_prices(request: HttpRequest, caller: Caller, key: str) -> HttpResponse:
    """Fetch catalogues with their prices. key: the token's public id; the secret is no part."""
    _check_key(key, caller)
    fields(request)
    return _prices(triggers.trigger(request, caller, [_catalogue()]), key)


@door("GET", scope="models:run")
def show_prices(request: HttpRequest, caller: Caller, key: str, keys: str) -> HttpResponse:
    _check_key(key, caller)
    return _prices(triggers.look(request, [MODELS], keys), key)


def _minimum(request: HttpRequest) -> int | None:
    text = parameter(request, "minimum")
    if not text:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise Problem(422, "minimum is a whole number of models, from 1 on.")
    return int(text)


def _catalogue() -> Sync:
    for sync in triggers.registered([MODELS]):
        return sync
    raise Problem(404, "No catalogue of models is configured here: there is nothing to fetch.")


def _check_key(key: str, caller: Caller) -> None:
    if len(key) > len(f"{PREFIX}_") + 12:
        detail = "The address holds more than the token's public id, such as rbo_7f3kq2m9x4ab. "
        raise Problem(400, f"{detail}If the secret was in it, rotate the token.")
    if caller.pk is None:
        expected = CRON_KEY
    else:
        expected = f"{PREFIX}_{ApiToken.objects.get(pk=caller.pk).public_id}"
    if key != expected:
        detail = f"The address must name the token in Authorization by its public id: {expected}."
        raise Problem(403, detail)


def _changed(run: SyncRun) -> int:
    """Count changes while the run ran: no other run of catalogues did so meanwhile."""
    if run.started_at is None:
        return 0
    return model_queries.count_changes(run.started_at, run.finished_at)


def _answer(done: Sum) -> HttpResponse:
    document: dict[str, Any] = {
        "success": done.success,
        "message": done.message,
        "details": {
            "total_models_synced": done.read,
            "catalogues": done.targets,
            "failed": done.failed,
        },
        **done.counts,
        "durationMs": done.milliseconds,
        "runs": done.documents,
    }
    return triggers.respond(
        done, document, reverse("door_model_run", args=[triggers.keys(done.runs)])
    )


def _prices(done: Sum, key: str) -> HttpResponse:
    (run,) = done.runs
    document = {
        "sync_id": str(run.pk),
        "status": STATUS.get(RunState(run.state), "failed"),
        "success": done.success,
        "message": done.message,
        "details": {
            "total_models_synced": done.read,
            "prices_changed": _changed(run),
            "failed": done.failed,
        },
        **done.counts,
        "runs": done.documents,
    }
    return triggers.respond(done, document, reverse("door_price_run", args=[key, run.pk]))
