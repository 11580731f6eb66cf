"""How a button requests a run, whatever page it is on."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from activity.log import record
from common.text import in_viewer_zone
from syncs import tasks
from syncs.engine.options import Options
from syncs.models import SyncRun, Trigger
from syncs.status import queries


def request_run(
    request: HttpRequest, sync: str, options: Options, *, linked: bool = False
) -> SyncRun:
    """Request a run that a worker executes, or join one that waits and would do the same.

    Says which; linked: for a page that is not the run's. Raises UsageError like `runs.request`.
    """
    with transaction.atomic():
        asked = tasks.request(sync, options, Trigger.BUTTON, request.user.get_username())
        if not asked.joined:
            record(request, "run.requested", asked.run, after={"options": asked.run.options})
    run, said = asked.run, "{} was requested."
    if asked.joined:
        said = "{} with the same options is already waiting."
    name = f"Run {run.pk}"
    if linked:
        name = format_html('<a class="underline" href="{}">{}</a>', _address(run), name)
    if asked.joined:
        messages.warning(request, format_html(said, name))
    else:
        say_taken(request, format_html(said, name))
    return run


def say_taken(request: HttpRequest, said: str) -> None:
    """Say that a run was requested, and whether anybody is there to start it."""
    worker = queries.worker_state()
    level = messages.SUCCESS if worker.takes_runs else messages.WARNING
    messages.add_message(
        request, level, format_html("{} {}.", said, in_viewer_zone(worker.outlook, timezone.now()))
    )


def page_of(run: SyncRun) -> HttpResponseRedirect:
    return HttpResponseRedirect(_address(run))


def _address(run: SyncRun) -> str:
    return reverse("admin:syncs_syncrun_change", args=[run.pk])
