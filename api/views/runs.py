"""Runs: found by filters, polled cheaply, cancelled."""

from __future__ import annotations

from typing import Annotated, Any, cast

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.http import parse_etags
from ninja import Router
from ninja.params.functions import Path, Query

from activity.address import address_of
from activity.log import record_by
from api import documents, paging
from api.auth import Scoped, caller_of
from api.problems import Problem
from api.tokens import Also
from common.clock import iso
from common.errors import UsageError
from syncs.engine import cancellation, registry
from syncs.engine.cancellation import CancelOutcome
from syncs.models import HeldChange, RunLog, RunState, SyncRun, Trigger
from syncs.reports import run_report

router = Router(tags=["runs"])
READ = Scoped("syncs:read")
LARGEST = 2**63 - 1  # number of a run
RunId = Annotated[int, Path(ge=1, le=LARGEST)]
POLL_AFTER = "2"  # seconds
# What the document of a run is made of: its row, its parts, and the run that it accepts. Whoever
# changes a row gives it another xmin (the transaction that wrote it), later than the one before.
_VERSION = """
    SELECT run.state IN ('queued', 'running'), run.xmin::text,
           (SELECT concat_ws('/', count(*), sum(part.xmin::text::bigint))
              FROM syncs_runtarget AS part WHERE part.run_id = run.id),
           (SELECT named.xmin::text FROM syncs_syncrun AS named
             WHERE named.id = (run.options ->> 'accept_held')::bigint)
      FROM syncs_syncrun AS run WHERE run.id = %(run)s"""


class ScopedPoll(Scoped):
    """Reads a run's version with the token, so that a poll answered 304 is one statement."""

    def also(self, request: HttpRequest) -> Also | None:
        found = request.resolver_match
        given = str(found.kwargs.get("run_id")) if found else ""
        is_run = given.isascii() and given.isdecimal() and len(given) <= len(str(LARGEST))
        version = Also(_VERSION, {"run": min(int(given), LARGEST) if is_run else None})
        cast("Any", request).version = version
        return version


def address(run: SyncRun) -> str:
    return reverse("api-v1:show_run", args=[run.pk])


@router.get("/runs", auth=READ, response=documents.RunPage, summary="List runs, newest first")
def list_runs(
    request: HttpRequest,
    sync: documents.Name | None = None,
    state: RunState | None = None,
    trigger: Trigger | None = None,
    actor: Annotated[str | None, Query(max_length=150)] = None,
    instance: documents.Name | None = None,
    before: paging.Key = None,
    limit: paging.Limit = 50,
) -> HttpResponse:
    if sync is not None:
        _check_sync(sync)
    wanted = {
        "sync": sync,
        "state": state,
        "trigger": trigger,
        "actor": actor,
        "targets__target": instance,
        "pk__lt": before,
    }
    rows = SyncRun.objects.filter(**{k: value for k, value in wanted.items() if value is not None})
    found, following = paging.page(request, rows, limit, newest_first=True)
    runs = [run_report.summary_document(run) for run in found]
    return JsonResponse({"runs": runs, "next": following})


@router.get(
    "/runs/{run_id}",
    auth=ScopedPoll("syncs:read"),
    response={200: documents.RunDocument, 304: None},
    summary="Show a run",
)
def show_run(request: HttpRequest, run_id: RunId) -> HttpResponse:
    """Has an `ETag`: a poll with `If-None-Match` gets 304 as long as nothing changed.

    `Retry-After` says when to ask again while the run is open.
    """
    tag, is_open = _tag(run_id, cast("Any", request).version)
    known = parse_etags(request.headers.get("If-None-Match", ""))
    answer: HttpResponse
    if known == ["*"] or tag in {one.removeprefix("W/") for one in known}:  # RFC 9110, 13.1.2
        answer = HttpResponse(status=304)
    else:
        answer = JsonResponse(run_report.document(_found(run_id)))
    if is_open:
        answer["Retry-After"] = POLL_AFTER
    answer["ETag"] = tag
    answer["Cache-Control"] = "private, no-cache"
    return answer


@router.get("/runs/{run_id}/log", auth=READ, response=documents.LogPage, summary="Read its log")
def show_log(
    request: HttpRequest, run_id: RunId, after: paging.Key = None, limit: paging.Limit = 200
) -> HttpResponse:
    rows = RunLog.objects.filter(run=_found(run_id), pk__gt=after or 0)
    found, following = paging.page(request, rows, limit)
    lines = [
        {
            "id": line.pk,
            "at": iso(line.at),
            "level": line.level,
            "target": line.target,
            "message": line.message,
        }
        for line in found
    ]
    return JsonResponse({"lines": lines, "next": following})


@router.get(
    "/runs/{run_id}/held",
    auth=Scoped("people:find"),
    response=documents.HeldPage,
    summary="Read what it holds",
)
def show_held(
    request: HttpRequest,
    run_id: RunId,
    instance: documents.Name | None = None,
    after: paging.Key = None,
    limit: paging.Limit = 200,
) -> HttpResponse:
    rows: QuerySet[HeldChange] = HeldChange.objects.filter(run=_found(run_id), pk__gt=after or 0)
    if instance is not None:
        rows = rows.filter(target=instance)
    found, following = paging.page(request, rows, limit)
    fields = ("target", "kind", "source_id", "detail", "tenant_instance", "tenant")
    changes = [{"id": row.pk} | {name: getattr(row, name) for name in fields} for row in found]
    return JsonResponse({"changes": changes, "next": following})


@router.post(
    "/runs/{run_id}/cancel",
    auth=Scoped("runs:cancel"),
    response={200: documents.Cancelled, 202: documents.Cancelled},
    summary="Cancel a run",
)
def cancel_run(request: HttpRequest, run_id: RunId) -> HttpResponse:
    """200: it is cancelled, as it was queued or its process no longer answers. 202: it runs and
    stops at its next safe point.

    409: it had ended before.
    """
    run, caller = _found(run_id), caller_of(request)
    before, is_asked = {"state": run.state}, run.cancel_requested_at is not None
    with transaction.atomic():
        outcome = cancellation.cancel(run, caller.actor)
        is_repeated = is_asked and outcome is CancelOutcome.ASKED
        if outcome is not CancelOutcome.ENDED and not is_repeated:
            origin, after = address_of(request), {"state": run.state}
            record_by(caller.actor, None, origin, "run.cancelled", run, before=before, after=after)
    detail = cancellation.describe(run, outcome, run.sync)
    if outcome is CancelOutcome.ENDED:
        raise Problem(409, detail)
    document = {"run": run.pk, "result": outcome, "state": run.state, "detail": detail}
    return JsonResponse(document, status=202 if outcome is CancelOutcome.ASKED else 200)


def _found(pk: int) -> SyncRun:
    run = SyncRun.objects.filter(pk=pk).first()
    if run is None:
        raise Http404(f"There is no run {pk}.")
    return run


def _check_sync(name: str) -> None:
    """Raise Problem 422 for a sync that there neither is nor was."""
    try:
        registry.get(name)
    except UsageError as error:
        if not SyncRun.objects.filter(sync=name).exists():
            errors = [{"field": "sync", "detail": str(error)}]
            raise Problem(422, "Wrong: sync. See errors.", errors=errors) from None


def _tag(pk: int, version: Also) -> tuple[str, bool]:
    """Return the version of a run's document, and whether the run is open."""
    if version.row is None:
        raise Http404(f"There is no run {pk}.")
    is_open, *versions = version.row
    return f'"{pk}-{"-".join(version or "" for version in versions)}"', is_open
