"""Connected services: read, and fetched on request."""

from __future__ import annotations

from typing import Annotated

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import Router
from ninja.params.functions import Body, Header, Path

from api import documents, paging, requests
from api.auth import Scoped, caller_of
from api.documents import FetchRequest, RequestedRun
from api.doors.services import scope_of
from api.problems import Problem
from api.tokens import Caller
from api.views.syncs import LOCATION, answer_request
from common import clock
from common.clock import iso
from integrations import plugin, reports, states
from integrations.models import Connection
from integrations.models.connection import KEY

router = Router(tags=["connections"])
READ = Scoped("integrations:read")
ConnectionId = Annotated[int, Path(ge=1, le=2**63 - 1)]
ALL = FetchRequest()


class ScopedByService(Scoped):
    """Admits requests whose token may fetch from the service that the address names."""

    def __call__(self, request: HttpRequest) -> Caller:
        match = request.resolver_match
        self_or_other = Scoped(scope_of(str(match.kwargs["service"]))) if match else self
        return Scoped.__call__(self_or_other, request)


@router.get(
    "/services", auth=READ, response=documents.ServiceList, summary="List services and their counts"
)
def list_services(request: HttpRequest) -> HttpResponse:
    now = clock.database_now()
    rows = list(Connection.objects.select_related("owner"))
    found = reports.service_documents(plugin.by_title(), rows, states.judge(rows, now), now)
    return JsonResponse({"now": iso(now), "services": found})


@router.get(
    "/connections",
    auth=READ,
    response=documents.ConnectionPage,
    summary="List connected accounts, their state, and when each is due next",
)
def list_connections(
    request: HttpRequest,
    service: documents.Name | None = None,
    after: paging.Key = None,
    limit: paging.Limit = 50,
) -> HttpResponse:
    rows = Connection.objects.select_related("owner")
    if service is not None:
        _check_service(service)
        rows = rows.filter(service=service)
    if after is not None:
        rows = rows.filter(pk__gt=after)
    found, following = paging.page(request, rows, limit)
    now = clock.database_now()
    judged = states.judge(found, now)
    connections = [reports.document(row, judged[row.pk], now) for row in found]
    return JsonResponse({"now": iso(now), "connections": connections, "next": following})


@router.get(
    "/connections/{connection}",
    auth=READ,
    response=documents.ConnectionDocument,
    summary="Show one connected account",
)
def show_connection(request: HttpRequest, connection: ConnectionId) -> HttpResponse:
    row = Connection.objects.select_related("owner").filter(pk=connection).first()
    if row is None:
        raise Http404(f"There is no connection {connection}.")
    now = clock.database_now()
    return JsonResponse(reports.document(row, states.judge([row], now)[row.pk], now))


@router.post(
    "/services/{service}/runs",
    auth=ScopedByService("integrations:run"),
    response={202: RequestedRun, 200: RequestedRun},
    summary="Request that connections of a service are fetched",
    openapi_extra=LOCATION,
)
def request_fetch(
    request: HttpRequest,
    service: documents.Name,
    wanted: Annotated[FetchRequest, Body()] = ALL,
    key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
    prefer: Annotated[str | None, Header(alias="Prefer", max_length=255)] = None,
) -> HttpResponse:
    """Without `connections` all of the service, except those fetched less than half a period ago.

    Otherwise like a run of a sync. Model catalogues (`llm_models`) need the scope `models:run`.
    """
    if service not in plugin.all_plugins():
        raise Http404(_no_such_service())
    sync = requests.find_sync(service)
    given = wanted.dict()
    targets = [f"{KEY}{pk}" for pk in given.pop("connections")]
    options = requests.options_for(sync, instances=targets, field="connections", **given)
    return answer_request(sync, options, caller_of(request), key, prefer)


def _check_service(name: str) -> None:
    """Raise Problem 422 for a service that there neither is nor was."""
    if name not in plugin.all_plugins() and not Connection.objects.filter(service=name).exists():
        errors = [{"field": "service", "detail": _no_such_service()}]
        raise Problem(422, "Wrong: service. See errors.", errors=errors)


def _no_such_service() -> str:
    return f"There is no such service. There are {', '.join(sorted(plugin.all_plugins()))}."
