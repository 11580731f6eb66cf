"""Cancelling a run from its page: by POST only, by those who may run syncs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from activity.log import record
from common.model_admin import pressed
from syncs import cancelling
from syncs.cancelling import Answer
from syncs.models import SyncRun


@pressed
def cancel_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    if not request.user.has_perm("syncs.run_sync"):
        raise PermissionDenied
    run = get_object_or_404(SyncRun, pk=pk)
    before = {"state": run.state}
    with transaction.atomic():
        answer = cancelling.cancel(run, request.user.get_username())
        if answer is not Answer.ENDED:
            record(request, "run.cancelled", run, before=before, after=_now(run))
    level = messages.WARNING if answer is Answer.ENDED else messages.SUCCESS
    messages.add_message(request, level, cancelling.in_words(run, answer))
    return HttpResponseRedirect(reverse("admin:syncs_syncrun_change", args=[pk]))


def _now(run: SyncRun) -> dict[str, str]:
    asked = {"asked to end by": run.cancel_requested_by} if run.is_open else {}
    return {"state": run.state, **asked}
