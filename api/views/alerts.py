"""Incidents: read, acknowledged, muted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import Router
from ninja.params.functions import Body, Path

from activity.address import address_of
from activity.log import record_by
from alerts import actions, queries
from alerts.models import Incident
from api import documents, paging
from api.auth import Scoped, caller_of
from api.documents import AcknowledgeRequest, MuteRequest
from api.problems import Problem
from common import clock
from common.clock import iso
from common.errors import UsageError
from common.terminal import is_one_line
from common.text import sentence

router = Router(tags=["alerts"])
READ, WRITE = Scoped("alerts:read"), Scoped("alerts:write")
IncidentId = Annotated[int, Path(ge=1, le=2**63 - 1)]
NAMES = "tenants.view_ghostuser"
WITHOUT_END = AcknowledgeRequest()


@router.get("/alerts", auth=READ, response=documents.IncidentList, summary="List open incidents")
def list_alerts(request: HttpRequest) -> HttpResponse:
    """The loudest first, those that another explains last."""
    found = _documents(request, queries.open_incidents())
    return JsonResponse({"evaluated_at": iso(queries.evaluated_at()), "incidents": found})


@router.get(
    "/alerts/history",
    auth=READ,
    response=documents.IncidentPage,
    summary="List all incidents, newest first",
)
def list_history(
    request: HttpRequest, before: paging.Key = None, limit: paging.Limit = 50
) -> HttpResponse:
    rows = Incident.objects.exclude(opened_at=None).select_related("cause")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found, following = paging.page(request, rows, limit, newest_first=True)
    incidents = _documents(request, found)
    return JsonResponse({"incidents": incidents, "next": following})


@router.get(
    "/alerts/{incident_id}", auth=READ, response=documents.Incident, summary="Show an incident"
)
def show_alert(request: HttpRequest, incident_id: IncidentId) -> HttpResponse:
    return _document(request, _found(incident_id))


@router.post(
    "/alerts/{incident_id}/acknowledge",
    auth=WRITE,
    response=documents.Incident,
    summary="Acknowledge an incident",
)
def acknowledge_alert(
    request: HttpRequest,
    incident_id: IncidentId,
    wanted: Annotated[AcknowledgeRequest, Body()] = WITHOUT_END,
) -> HttpResponse:
    """No reminder is sent any longer, or until then. 409: it is resolved."""
    _check_open(incident_id)
    until = None if wanted.until is None else _with_zone(wanted.until)
    with transaction.atomic():
        incident = actions.acknowledge(incident_id, caller_of(request).actor, until)
        _record(request, "incident.acknowledged", incident, {"until": until})
    return _document(request, incident)


@router.post(
    "/alerts/{incident_id}/mute",
    auth=WRITE,
    response=documents.Incident,
    summary="Mute an incident",
)
def mute_alert(request: HttpRequest, incident_id: IncidentId, wanted: MuteRequest) -> HttpResponse:
    """Nothing is sent about its key until then, a year at most. 409: it is resolved."""
    _check_open(incident_id)
    reason = " ".join(wanted.reason.split())
    if not reason or not is_one_line(reason):
        raise Problem(422, "reason: give a reason in one line.")
    with transaction.atomic():
        actor, until = caller_of(request).actor, _with_zone(wanted.until)
        incident = actions.mute(incident_id, actor, until, reason)
        _record(request, "incident.muted", incident, {"until": until, "reason": reason})
    return _document(request, incident)


@router.post(
    "/alerts/{incident_id}/unmute",
    auth=WRITE,
    response=documents.Incident,
    summary="End the mute of an incident",
)
def unmute_alert(request: HttpRequest, incident_id: IncidentId) -> HttpResponse:
    """Its problem is sent again if it is still there. 409: it is not muted, or is resolved."""
    _found(incident_id)
    try:
        with transaction.atomic():
            incident = actions.unmute(incident_id, caller_of(request).actor)
            _record(request, "incident.unmuted", incident, {})
    except UsageError as error:
        raise Problem(409, sentence(str(error))) from None
    return _document(request, incident)


def _record(request: HttpRequest, action: str, incident: Incident, after: dict[str, Any]) -> None:
    actor, origin = caller_of(request).actor, address_of(request)
    record_by(actor, None, origin, action, incident, after=after)


def _with_zone(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise Problem(422, "until: give its zone, such as 2027-01-31T08:00:00Z.")
    return at


def _check_open(pk: int) -> None:
    if not _found(pk).is_open:
        raise Problem(409, f"Incident {pk} is resolved: nothing is left to be done about it.")


def _found(pk: int) -> Incident:
    incident = Incident.objects.exclude(opened_at=None).filter(pk=pk).first()
    if incident is None:
        raise Http404(f"There is no incident {pk}.")
    return incident


def _document(request: HttpRequest, incident: Incident) -> HttpResponse:
    (document,) = _documents(request, [incident])
    return JsonResponse(document)


def _documents(request: HttpRequest, incidents: Sequence[Incident]) -> list[dict[str, Any]]:
    """With names of people only if the token reads these elsewhere, too."""
    may = caller_of(request).may(NAMES)
    return queries.documents(incidents, clock.database_now(), personal_data=may)
