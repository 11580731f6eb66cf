"""The console's pages of schedules: when each sync runs, and what a person does about it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from activity.recorded_admin import Recorded
from common import markup
from common.markup import Tone
from common.model_admin import StrictUrls
from common.text import in_viewer_zone
from syncs.admin import run_page
from syncs.admin import schedule_actions as actions
from syncs.admin.badges import RUN_TONES
from syncs.admin.schedule_form import ScheduleForm
from syncs.engine import registry
from syncs.models import SyncRun, SyncSchedule
from syncs.names import title_of
from syncs.schedules import crontab, descriptions, store
from syncs.schedules.pause import Pause, PauseEnd
from syncs.schedules.store import OFF, ChangedMeanwhile

SHOWN = (
    "title",
    "frequency",
    "state_badge",
    "next_time",
    "last_run",
    "options_summary",
    "note_text",
)


LISTING = ("index", "app_list")  # the pages that offer to add to every model


@admin.register(SyncSchedule)
class ScheduleAdmin(StrictUrls, Recorded, ModelAdmin):
    thing = "schedule"
    added_as = "added"
    switch = "enabled"
    form = ScheduleForm
    list_display = SHOWN
    list_select_related = ("schedule",)
    ordering = ("sync",)
    sortable_by = ()
    actions = None
    show_full_result_count = True  # the table is small
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER
    empty_text = "No sync has a schedule yet: manage.py setup_schedules creates them."
    change_form_outer_before_template = "syncs/schedule_tools.html"
    change_form_before_template = "syncs/schedule_before.html"
    change_form_after_template = "syncs/schedule_after.html"
    readonly_fields = (*SHOWN, "last_change", "grace")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj and not self.has_change_permission(request, obj):
            shown = (*SHOWN[:-1], "grace", SHOWN[-1], "last_change")
            return ((None, {"fields": shown}),)
        frequency_fields = ("kind", "hours", "minute", "weekday", "day", "at", "cron")
        state = ("state_badge", "next_time", "last_run", "last_change")
        return (
            (None, {"fields": ("sync", "enabled", *(state if obj else ()))}),
            ("Frequency", {"fields": frequency_fields}),
            ("Scope", {"fields": ("instances", "force")}),
            ("Freshness and notes", {"fields": ("grace_seconds", "note")}),
        )

    def get_custom_urls(self) -> Any:
        return (
            ("<int:pk>/run/", "syncs_syncschedule_run", actions.run_view),
            ("<int:pk>/dry-run/", "syncs_syncschedule_dry_run", actions.dry_run_view),
            ("<int:pk>/pause/", "syncs_syncschedule_pause", actions.pause_view),
            ("<int:pk>/resume/", "syncs_syncschedule_resume", actions.resume_view),
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Every sync has one schedule: one is added only where it is missing.

        Pages of other models, which show no way to add one, don't look for it.
        """
        page = request.resolver_match.url_name if request.resolver_match else None
        if page and page not in LISTING and not page.startswith("syncs_syncschedule"):
            return bool(super().has_add_permission(request))
        with_one = set(SyncSchedule.objects.values_list("sync", flat=True))
        missing = any(sync.name not in with_one for sync in registry.scheduled_syncs())
        return missing and bool(super().has_add_permission(request))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The row of a sync that the code knows stays: it is switched off instead."""
        if obj is None or any(sync.name == obj.sync for sync in registry.scheduled_syncs()):
            return False
        return bool(super().has_delete_permission(request, obj))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except ChangedMeanwhile as error:
            messages.error(request, in_viewer_zone(str(error), timezone.now()))
            return HttpResponseRedirect(request.path)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        kept, form = context["original"], context["adminform"].form
        may_change = kept is None or self.has_change_permission(request, kept)
        context |= {
            "schedule_form": form if may_change else None,
            "preview": form.preview if may_change else None,
            "pause": _pause(kept) if kept else None,
            "pause_ends": [*PauseEnd],
            "known": kept and any(sync.name == kept.sync for sync in registry.scheduled_syncs()),
            "zone": timezone.get_current_timezone_name(),
            "show_save_and_add_another": False,
        }
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    def save_model(self, request: HttpRequest, obj: SyncSchedule, form: Any, change: bool) -> None:
        """Through the one way that knows when the next time has to be computed again."""
        actor = request.user.get_username()
        if change:
            store.change(obj.sync, form.wanted, actor, form.cleaned_data["seen"])
        else:
            added = store.add(obj.sync, form.wanted, actor)
            obj.pk, obj.schedule = added.pk, added.schedule

    def delete_model(self, request: HttpRequest, obj: SyncSchedule) -> None:
        self.record_deletion(request, [obj])
        obj.schedule.delete()

    def facts(self, row: SyncSchedule) -> dict[str, Any]:
        return store.facts(row)

    @admin.display(description="sync")
    def title(self, kept: SyncSchedule) -> str:
        return title_of(kept.sync)

    @admin.display(description="frequency")
    def frequency(self, kept: SyncSchedule) -> str:
        cron = kept.schedule.cron
        return descriptions.describe(cron) if crontab.is_valid(cron or "") else f"invalid: {cron}"

    @admin.display(description="state")
    def state_badge(self, kept: SyncSchedule) -> SafeString:
        if kept.schedule.repeats == OFF:
            return markup.badge("off", Tone.QUIET)
        if pause := _pause(kept):
            now = timezone.now()
            until = in_viewer_zone(pause.in_words(now), now)
            text = f"{until} ({kept.paused_by or 'unknown user'})"
            return format_html("{} {}", markup.badge("paused", Tone.WARNING), text)
        return markup.badge("on", Tone.GOOD)

    @admin.display(description="next run")
    def next_time(self, kept: SyncSchedule) -> SafeString:
        row, pause = kept.schedule, _pause(kept)
        if row.repeats == OFF or not crontab.is_valid(row.cron or ""):
            return markup.quiet("none")
        at = store.after(pause, row.cron) if pause else row.next_run
        return markup.moment(at, timezone.now())

    @admin.display(description="last run")
    def last_run(self, kept: SyncSchedule) -> SafeString:
        run = SyncRun.objects.filter(sync=kept.sync).first()
        if run is None:
            return markup.quiet("never")
        url = reverse("admin:syncs_syncrun_change", args=[run.pk])
        badge = markup.badge(run.state, RUN_TONES[run.state])
        return format_html('<a class="link" href="{}">run {}</a> {}', url, run.pk, badge)

    @admin.display(description="scope")
    def options_summary(self, kept: SyncSchedule) -> str:
        return run_page.options_in_words(SyncRun(options=kept.options))

    @admin.display(description="note")
    def note_text(self, kept: SyncSchedule) -> SafeString:
        return markup.brief(kept.note)

    @admin.display(description="grace")
    def grace(self, kept: SyncSchedule) -> str:
        return "default" if kept.grace_seconds is None else f"{kept.grace_seconds} s"

    @admin.display(description="last changed")
    def last_change(self, kept: SyncSchedule) -> SafeString:
        when = markup.moment(kept.changed_at, timezone.now())
        return format_html("{} by {}", when, kept.changed_by or "a command")


def _pause(kept: SyncSchedule) -> Pause | None:
    if kept.paused_until is None or not kept.is_paused(timezone.now()):
        return None
    return Pause(kept.paused_until, kept.pause_reason)
