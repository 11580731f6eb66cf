"""What a person does about a run from its page: accept, discard, retry; each by POST only."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from activity.log import record
from common.errors import RainboError, UsageError
from common.model_admin import post_only
from syncs import tasks
from syncs.admin import held_changes
from syncs.admin.run_requests import say_taken
from syncs.engine import cancellation, held, runs
from syncs.engine.cancellation import CancelOutcome
from syncs.engine.options import Options
from syncs.models import OPEN_STATES, SyncRun, Trigger
from syncs.names import title_of
from syncs.reports import run_report

RUN = "syncs.run_sync"
ACCEPT = "syncs.accept_held"


@post_only
def accept_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Request the run that publishes what this one holds, as `--accept-held` does."""
    run, reason = _found(request, pk, ACCEPT), _reason(request)
    rows = held_changes.to_confirm(held_changes.counts_of(run))
    if rows and request.POST.get("rows") != str(rows):
        return _refused(request, run, f"Not accepted: confirm that it changes {rows:,} rows.")
    try:
        with transaction.atomic():
            wish = Options(accept_held=pk, reason=reason)
            new = runs.request(run.sync, wish, Trigger.BUTTON, request.user.get_username())
            after = {
                "state": "accepted",
                "accepted by run": new.pk,
                "reason": reason,
                "would": _would(run),
            }
            record(request, "run.accepted", run, before={"state": run.state}, after=after)
    except RainboError as error:
        return _refused(request, run, f"Not accepted: {error}.")
    tasks.enqueue(new)
    say_taken(request, f"Run {new.pk} will publish what run {pk} holds.")
    return _page(new)


@post_only
def discard_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    run, reason = _found(request, pk, ACCEPT), _reason(request)
    try:
        with transaction.atomic():
            discarded = held.discard(pk, request.user.get_username(), reason)
            after = {"state": "discarded", "reason": reason, "would": _would(run)}
            record(request, "run.discarded", run, before={"state": run.state}, after=after)
    except RainboError as error:
        return _refused(request, run, f"Not discarded: {error}.")
    messages.success(request, held.describe_discarded(discarded, title_of(run.sync)))
    return _page(run)


@post_only
def retry_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Request a run of what failed in this one, as the command that its page shows does."""
    run = _found(request, pk, RUN)
    try:
        with transaction.atomic():
            SyncRun.objects.select_for_update(no_key=True).get(pk=pk)
            options = _retry_options(request, run)
            new = runs.request(run.sync, options, Trigger.BUTTON, request.user.get_username())
            after = {"retried by run": new.pk, "options": new.options}
            record(request, "run.retried", run, before={"state": run.state}, after=after)
    except RainboError as error:
        return _refused(request, run, f"Not retried: {error}.")
    tasks.enqueue(new)
    say_taken(request, f"Run {new.pk} retries what failed.")
    return _page(new)


def retry_in_progress(run: SyncRun, options: Options) -> SyncRun | None:
    """Return a queued or running run that retries the same."""
    same = SyncRun.objects.filter(sync=run.sync, state__in=OPEN_STATES, options=options.as_json())
    return same.filter(pk__gt=run.pk).first()


def _retry_options(request: HttpRequest, run: SyncRun) -> Options:
    """Raises UsageError when there is nothing to retry, or it is being retried."""
    if run.is_open:
        raise UsageError(f"run {run.pk} has not ended yet")
    options = run_report.retry_options(run)
    if options is None:
        raise UsageError(f"nothing failed in run {run.pk}")
    if options.accept_held is not None and not request.user.has_perm(ACCEPT):
        raise PermissionDenied  # it would publish what a guard held
    if other := retry_in_progress(run, options):
        raise UsageError(f"run {other.pk} already retries it and is {other.state}")
    return options


def _would(run: SyncRun) -> str:
    return held_changes.would(held_changes.counts_of(run))


def _reason(request: HttpRequest) -> str:
    """As a database can keep it, in one line."""
    return " ".join(request.POST.get("reason", "").replace("\0", "").split())


def _found(request: HttpRequest, pk: int, permission: str) -> SyncRun:
    if not request.user.has_perm(permission):
        raise PermissionDenied
    return get_object_or_404(SyncRun, pk=pk)


def _refused(request: HttpRequest, run: SyncRun, message: str) -> HttpResponse:
    messages.error(request, message)
    return _page(run)


def _page(run: SyncRun) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:syncs_syncrun_change", args=[run.pk]))


@post_only
def cancel_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    if not request.user.has_perm("syncs.run_sync"):
        raise PermissionDenied
    run = get_object_or_404(SyncRun, pk=pk)
    before = {"state": run.state}
    with transaction.atomic():
        answer = cancellation.cancel(run, request.user.get_username())
        if answer is not CancelOutcome.ENDED:
            record(request, "run.cancelled", run, before=before, after=_now(run))
    level = messages.WARNING if answer is CancelOutcome.ENDED else messages.SUCCESS
    messages.add_message(request, level, cancellation.describe(run, answer, title_of(run.sync)))
    return HttpResponseRedirect(reverse("admin:syncs_syncrun_change", args=[pk]))


def _now(run: SyncRun) -> dict[str, str]:
    asked = {"cancellation requested by": run.cancel_requested_by} if run.is_open else {}
    return {"state": run.state, **asked}
