"""The console's pages of runs: what happened, to which instance, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from common import markup
from common.model_admin import BoundedPaginator, ReadOnlyAdmin
from syncs.admin import (
    badges,
    run_actions,
    run_export,
    run_filters,
    run_page,
    run_search,
    run_targets,
)
from syncs.admin.run_actions import cancel_view
from syncs.models import SyncRun
from syncs.names import title_of


class RunPaginator(BoundedPaginator):
    """Runs lie in the order of their days: without an index along it, all would be counted."""

    in_order = True


@admin.register(SyncRun)
class RunAdmin(ReadOnlyAdmin):
    list_display = ("run", "sync_name", "state_badge", "requested_by", "started", "took", "outcome")
    list_filter = run_filters.ALL
    list_before_template = "syncs/runs_folded.html"
    search_fields = ("error",)  # there is a search: get_search_results does it
    search_help_text = "A run's id, an instance, a person, or words of an error"
    list_filter_submit = True
    paginator = RunPaginator
    sortable_by = ()
    change_form_outer_before_template = "syncs/run.html"
    empty_text = "Nothing has run yet: manage.py setup_schedules schedules the syncs."

    class Media:
        js = (Script("rainbo/live.js", defer=True),)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A run's page is our own: nothing of it is a form's field."""
        return ()

    def get_custom_urls(self) -> Any:
        return (
            ("<int:pk>/live/", "syncs_syncrun_live", run_page.live_view),
            ("<int:pk>/cancel/", "syncs_syncrun_cancel", cancel_view),
            ("<int:pk>/retry/", "syncs_syncrun_retry", run_actions.retry_view),
            ("<int:pk>/accept/", "syncs_syncrun_accept", run_actions.accept_view),
            ("<int:pk>/discard/", "syncs_syncrun_discard", run_actions.discard_view),
            ("<int:pk>/withheld/", "syncs_syncrun_withheld", run_export.withheld_view),
            ("<int:pk>/held/", "syncs_syncrun_held", run_export.held_view),
        )

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        """Newest first, by the index that serves the days when some are chosen."""
        days = any(request.GET.get(f"{run_filters.DAYS}_{end}") for end in ("from", "to"))
        return (f"-{run_filters.DAYS}", "-id") if days else ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SyncRun], search_term: str
    ) -> tuple[QuerySet[SyncRun], bool]:
        term = search_term.strip()
        return (queryset.filter(pk__in=run_search.matching(term)) if term else queryset), False

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> RunPaginator:
        """Of runs of some syncs, any are counted: an index has those of each."""
        paginator = RunPaginator(*args, **kwargs)
        paginator.in_order = not run_filters.folded(request)
        return paginator

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"folded": run_filters.folded(request), **(extra_context or {})}
        answer: HttpResponse = super().changelist_view(request, context)
        return answer

    def complete(self, rows: Sequence[SyncRun]) -> None:
        run_targets.add_summaries(rows)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= run_page.context(request, context["original"])
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    @admin.display(description="run")
    def run(self, record: SyncRun) -> str:
        return f"run\u00a0{record.pk}"

    @admin.display(description="sync")
    def sync_name(self, record: SyncRun) -> str:
        return title_of(record.sync)

    @admin.display(description="state")
    def state_badge(self, record: SyncRun) -> SafeString:
        return badges.run_badge(record.state, discarded=record.discarded_at is not None)

    @admin.display(description="requested by")
    def requested_by(self, record: SyncRun) -> str:
        return run_page.asked_by(record)

    @admin.display(description="started")
    def started(self, record: SyncRun) -> SafeString:
        return markup.age(record.started_at, timezone.now(), missing="not started")

    @admin.display(description="took")
    def took(self, record: SyncRun) -> SafeString:
        return markup.took(record.seconds)

    @admin.display(description="outcome")
    def outcome(self, record: Any) -> SafeString:
        return markup.brief("; ".join(filter(None, [record.summary, record.error])), 160)
