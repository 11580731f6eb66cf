"""Running, pausing and resuming a sync from its schedule's page: by POST, with permission."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from activity.log import record
from common.clock import database_now
from common.errors import RainboError, UsageError
from syncs.admin.run_requests import page_of, request_run
from syncs.engine.options import Options
from syncs.models import SyncSchedule
from syncs.schedules import store
from syncs.schedules.pause import PauseEnd
from syncs.schedules.store import LONGEST_REASON, pause_facts

RUN = "syncs.run_sync"
CHANGE_SCHEDULE = "syncs.change_syncschedule"
LOCAL = "%Y-%m-%dT%H:%M"  # as browsers send a datetime-local


class PauseForm(forms.Form):
    end = forms.ChoiceField(
        required=False,
        choices=[(end.value, end.label) for end in PauseEnd],
        error_messages={"invalid_choice": "Choose one of the ends of the page."},
    )
    until = forms.DateTimeField(
        required=False,
        input_formats=[LOCAL],
        error_messages={"invalid": "Enter a valid date and time."},
    )
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        error_messages={"required": "Enter a reason. It is shown to other users."},
    )

    def clean_until(self) -> datetime | None:
        """The end that a button names, or else the one that was entered."""
        if end := self.cleaned_data.get("end"):
            return PauseEnd(end).after(database_now(), timezone.get_current_timezone())
        if not (until := self.cleaned_data["until"]):
            raise forms.ValidationError("Enter the end of the pause.")
        found: datetime = until
        return found


@require_POST
def run_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    return _ask_for_run(request, _found(request, pk, RUN), dry_run=False)


@require_POST
def dry_run_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    return _ask_for_run(request, _found(request, pk, RUN), dry_run=True)


@require_POST
def pause_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    kept = _found(request, pk, CHANGE_SCHEDULE)
    with timezone.override(_zone_of(request)):
        form = PauseForm(request.POST)
        form.full_clean()
    if not form.is_valid():
        for message in (error for errors in form.errors.values() for error in errors):
            messages.error(request, f"Not paused. {message}")
        return _back(kept)
    until, reason = form.cleaned_data["until"], form.cleaned_data["reason"]
    before = pause_facts(kept)
    try:
        with transaction.atomic():
            paused = store.pause(kept.sync, until, reason, request.user.get_username())
            record(request, "schedule.paused", kept, before=before, after=pause_facts(paused))
    except UsageError as error:
        messages.error(request, f"Not paused: {error}.")
        return _back(kept)
    local = timezone.localtime(until)
    messages.success(request, f"Paused until {local:%Y-%m-%d %H:%M %Z}: {reason}")
    return _back(kept)


@require_POST
def resume_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    kept = _found(request, pk, CHANGE_SCHEDULE)
    before = pause_facts(kept)
    with transaction.atomic():
        resumed = store.resume(kept.sync, request.user.get_username())
        record(request, "schedule.resumed", kept, before=before, after=pause_facts(resumed))
    messages.success(request, "Resumed. The sync runs at its next scheduled time.")
    return _back(kept)


def _zone_of(request: HttpRequest) -> tzinfo:
    asked = request.POST.get("zone", "")
    is_known = asked in available_timezones()
    return ZoneInfo(asked) if is_known else timezone.get_current_timezone()


def _ask_for_run(request: HttpRequest, kept: SyncSchedule, *, dry_run: bool) -> HttpResponse:
    """Request a run with the schedule's options; a worker executes it."""
    try:
        stored = Options.from_json(kept.options | ({"dry_run": True} if dry_run else {}))
        return page_of(request_run(request, kept.sync, stored))
    except RainboError as error:
        messages.error(request, str(error))
        return _back(kept)


def _found(request: HttpRequest, pk: int, permission: str) -> SyncSchedule:
    if not request.user.has_perm(permission):
        raise PermissionDenied
    return get_object_or_404(SyncSchedule, pk=pk)


def _back(kept: SyncSchedule) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:syncs_syncschedule_change", args=[kept.pk]))
