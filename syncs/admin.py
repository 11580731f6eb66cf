"""The console's pages of runs: what happened, to which instance, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncs import markup, run_page, schedule_admin, specs  # noqa: F401 (registers its pages)
from syncs.console import ReadOnlyAdmin
from syncs.markup import RUN_TONES
from syncs.models import SyncRun
from syncs.run_cancelling import cancel_view


class SyncFilter(admin.SimpleListFilter):
    """By the syncs that the code knows: their names are never gathered from the runs."""

    title = "sync"
    parameter_name = "sync"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(sync.name, sync.name) for sync in specs.all_syncs()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(sync=self.value()) if self.value() else queryset


@admin.register(SyncRun)
class RunAdmin(ReadOnlyAdmin):
    list_display = ("run", "what", "how", "why", "started", "took", "outcome")
    list_filter = (SyncFilter, "state", "trigger")
    ordering = ("-id",)
    sortable_by = ()
    change_form_outer_before_template = "syncs/run_tools.html"
    change_form_outer_after_template = "syncs/run_parts.html"
    empty_words = "Nothing has run yet: manage.py setup_schedules plans the syncs."
    fieldsets = ((None, {"fields": (("what", "how"), "result", "full_error", "next_steps")}),)
    readonly_fields = ("what", "how", "result", "full_error", "next_steps")

    def get_custom_urls(self) -> Any:
        return (("<int:pk>/cancel/", "syncs_syncrun_cancel", cancel_view),)

    def complete(self, rows: Sequence[SyncRun]) -> None:
        run_page.add_summaries(rows)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        record = context["original"]
        context |= {"course": run_page.course(record), "facts": run_page.facts(record, _link)}
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    @admin.display(description="run")
    def run(self, record: SyncRun) -> str:
        return f"run\u00a0{record.pk}"

    @admin.display(description="sync")
    def what(self, record: SyncRun) -> str:
        return record.sync

    @admin.display(description="state")
    def how(self, record: SyncRun) -> SafeString:
        return markup.badge(record.state, RUN_TONES[record.state])

    @admin.display(description="asked by")
    def why(self, record: SyncRun) -> str:
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

    @admin.display(description="outcome")
    def result(self, record: Any) -> str:
        return record.summary or "–"

    @admin.display(description="error")
    def full_error(self, record: SyncRun) -> str:
        return record.error or "none"

    @admin.display(description="what to do")
    def next_steps(self, record: SyncRun) -> SafeString:
        return run_page.next_steps(record)


def _link(pk: int) -> SafeString:
    return format_html(
        '<a class="link" href="{}">run {}</a>', reverse("admin:syncs_syncrun_change", args=[pk]), pk
    )
