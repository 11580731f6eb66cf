"""Schedules: read, paused, resumed."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Router

from activity.address import address_of
from activity.log import record_by
from api import documents, requests
from api.auth import Scoped, caller_of
from api.documents import PauseRequest
from api.problems import Problem
from common import clock
from common.terminal import is_one_line
from syncs.models import SyncSchedule
from syncs.reports import schedule_report
from syncs.schedules import store
from syncs.schedules.store import pause_facts
from syncs.status import queries

router = Router(tags=["schedules"])
WRITE = Scoped("schedules:write")


@router.get(
    "/schedules",
    auth=Scoped("syncs:read"),
    response=documents.ScheduleList,
    summary="List schedules",
)
def list_schedules(request: HttpRequest) -> HttpResponse:
    return JsonResponse(schedule_report.document(queries.status(clock.database_now())))


@router.post(
    "/schedules/{name}/pause",
    auth=WRITE,
    response=documents.ScheduleDocument,
    summary="Pause a schedule",
)
def pause_schedule(
    request: HttpRequest, name: documents.Name, wanted: PauseRequest
) -> HttpResponse:
    """Its slots are skipped until then, a year at most; a pause ends by itself."""
    if wanted.until.tzinfo is None:
        raise Problem(422, "until: give its zone, such as 2027-01-31T08:00:00Z.")
    reason = " ".join(wanted.reason.split())
    if not reason or not is_one_line(reason):
        raise Problem(422, "reason: give a reason in one line.")
    kept, caller = _found(name), caller_of(request)
    with transaction.atomic():
        paused = store.pause(kept.sync, wanted.until, reason, caller.actor)
        _record(request, "schedule.paused", kept, paused)
    return _document(name)


@router.post(
    "/schedules/{name}/resume",
    auth=WRITE,
    response=documents.ScheduleDocument,
    summary="End a pause",
)
def resume_schedule(request: HttpRequest, name: documents.Name) -> HttpResponse:
    kept = _found(name)
    with transaction.atomic():
        resumed = store.resume(kept.sync, caller_of(request).actor)
        _record(request, "schedule.resumed", kept, resumed)
    return _document(name)


def _record(request: HttpRequest, action: str, before: SyncSchedule, after: SyncSchedule) -> None:
    origin, actor = address_of(request), caller_of(request).actor
    was, now = pause_facts(before), pause_facts(after)
    record_by(actor, None, origin, action, after, before=was, after=now)


def _found(name: str) -> SyncSchedule:
    kept = SyncSchedule.objects.filter(sync=requests.find_sync(name).name).first()
    if kept is None:
        raise Problem(404, f"{name} has no schedule.")
    return kept


def _document(name: str) -> HttpResponse:
    document = schedule_report.document(queries.status(clock.database_now()))
    return JsonResponse(next(entry for entry in document["schedules"] if entry["sync"] == name))
