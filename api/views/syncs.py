"""Syncs and freshness, what is wrong, and requests of runs."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Router
from ninja.params.functions import Body, Header

from api import documents, requests
from api.auth import Scoped, authorize, caller_of
from api.documents import RequestedRun, RunRequest
from api.doors.services import scope_of
from api.tokens import Caller
from api.views.runs import address
from common import clock
from common.clock import iso
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.reports import run_report, status_report
from syncs.status import problems, queries

router = Router(tags=["syncs"])
READ, RUN = Scoped("syncs:read"), "syncs:run"
EVERYTHING = RunRequest()
LOCATION: dict[str, Any] = {
    "responses": {
        status: {
            "headers": {
                "Location": {"schema": {"type": "string"}, "description": "the run's address"}
            }
        }
        for status in (200, 202)
    }
}


@router.get(
    "/syncs", auth=READ, response=documents.SyncList, summary="List syncs and their freshness"
)
def list_syncs(request: HttpRequest) -> HttpResponse:
    status = status_report.document(queries.shared_status())
    return JsonResponse({"now": status["now"], "syncs": status["syncs"]})


@router.get("/syncs/{name}", auth=READ, response=documents.SyncDocument, summary="Show one sync")
def show_sync(request: HttpRequest, name: documents.Name) -> HttpResponse:
    sync = requests.find_sync(name)
    now = clock.database_now()
    status = queries.sync_status(sync.name, now)
    return JsonResponse(status_report.sync_document(status, now))


@router.post(
    "/syncs/{name}/runs",
    auth=Scoped(RUN),
    response={202: RequestedRun, 200: RequestedRun},
    summary="Request a run",
    openapi_extra=LOCATION,
)
def request_run(
    request: HttpRequest,
    name: documents.Name,
    wanted: Annotated[RunRequest, Body()] = EVERYTHING,
    key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
    prefer: Annotated[str | None, Header(alias="Prefer", max_length=255)] = None,
) -> HttpResponse:
    """A worker executes the run. It answers 202 with `Location`, where the run can be polled.

    A run that waits and would do the same is joined. With `Prefer: wait=N` (at most 20 seconds)
    the answer is 200 if the run ends in that time. The same request repeated with the same
    `Idempotency-Key` within 24 hours gets the same run. A service also needs `integrations:run`,
    and model catalogues `models:run`.
    """
    sync = requests.find_sync(name)
    if (needed := scope_of(sync.name)) != RUN:
        authorize(request, needed)
    options = requests.options_for(sync, **wanted.dict())
    return answer_request(sync, options, caller_of(request), key, prefer)


def answer_request(
    sync: Sync, options: Options, caller: Caller, key: str | None, prefer: str | None
) -> HttpResponse:
    """Request a run, wait for its end as long as the client wants, and answer with its document."""
    requested = requests.request_run(sync, options, caller, key)
    run, seconds = requested.run, requests.wanted_wait(prefer)
    ended = requests.wait_for(run, seconds)
    document = run_report.document(run, sync) | {"joined": requested.joined}
    headers = {"Location": address(run)}
    if not ended:
        headers["Retry-After"] = "1"
    if seconds:
        headers["Preference-Applied"] = f"wait={seconds}"
    return JsonResponse(document, status=200 if ended else 202, headers=headers)


@router.get(
    "/freshness",
    auth=READ,
    response=documents.FreshnessDocument,
    summary="Show how fresh everything is",
)
def freshness(request: HttpRequest) -> HttpResponse:
    """As of `now`, which is a second ago at most, and never before the last confirmation."""
    document = status_report.document(queries.shared_status())
    return JsonResponse({name: document[name] for name in ("now", "state", "worker", "syncs")})


@router.get("/problems", auth=READ, response=documents.ProblemList, summary="List what is wrong")
def list_problems(request: HttpRequest) -> HttpResponse:
    now = clock.database_now()
    facts = problems.read(now, caller_of(request).may)
    found: list[dict[str, Any]] = [problem.document() for problem in problems.judge(facts)]
    return JsonResponse({"now": iso(now), "problems": found})
