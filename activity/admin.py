"""The console's pages of what people did: to be read, filtered and exported, never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity.admin_export import export_view
from activity.admin_filters import ActionFilter, ObjectFilter, SinceFilter
from activity.admin_links import add_links
from activity.models import Activity
from common import markup
from common.admin_filters import DaysFilter, PersonFilter
from common.csv_export import LIMIT
from common.model_admin import DecoratedChangeList, ReadOnlyAdmin


class LinkedList(DecoratedChangeList):
    """A page of entries with the links that the person may follow."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        add_links(self.result_list, request)

    def export_url(self) -> str:
        query = self.get_query_string(remove=["p"])
        return reverse("admin:activity_activity_export") + str(query).rstrip("?")

    def export_text(self) -> str:
        """What an export of this list brings, in numbers."""
        if self.paginator.is_cut:
            return f"more than {self.paginator.limit:,} actions, {LIMIT:,} at the most"
        return f"{self.paginator.count_in_words} action{'' if self.paginator.count == 1 else 's'}"


@admin.register(Activity)
class ActivityAdmin(ReadOnlyAdmin):
    list_display = ("when", "who", "did", "on", "values", "origin")
    list_display_links = ("when",)
    list_filter = (ObjectFilter, ActionFilter, PersonFilter, SinceFilter, ("at", DaysFilter))
    list_filter_submit = True
    list_before_template = "activity/tools.html"
    ordering = ("-at", "-id")
    sortable_by = ()
    search_fields = ("actor", "subject")
    search_help_text = "The beginning of who or on what"
    empty_text = "No activity yet. What users do in the console is recorded here."
    change_form_outer_after_template = "activity/entry.html"
    fieldsets = ((None, {"fields": ("when", "who", "did", "on", "origin")}),)
    readonly_fields = ("when", "who", "did", "on", "origin")

    def get_custom_urls(self) -> Any:
        return (("export/", "activity_activity_export", export_view),)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LinkedList]:
        return LinkedList

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            add_links([found], request)
        return found

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Activity], search_term: str
    ) -> tuple[QuerySet[Activity], bool]:
        """By the beginning, which the indexes serve."""
        term = search_term.strip()
        if not term:
            return queryset, False
        named = Q(actor__istartswith=term) | Q(subject__istartswith=term)
        return queryset.filter(named), False

    @admin.display(description="when")
    def when(self, entry: Activity) -> SafeString:
        ago = markup.distance(entry.at, timezone.now())
        html = '<time datetime="{}">{}</time> <span class="quiet">{}</span>'
        return format_html(html, entry.at.isoformat(), markup.exact(entry.at), ago)

    @admin.display(description="who")
    def who(self, entry: Any) -> SafeString:
        return _linked(entry.actor or "nobody", entry.actor_url)

    @admin.display(description="did what")
    def did(self, entry: Activity) -> str:
        return entry.what

    @admin.display(description="on what")
    def on(self, entry: Any) -> SafeString:
        if not entry.subject:
            return markup.quiet("–")
        return _linked(entry.subject, entry.subject_url)

    @admin.display(description="changed")
    def values(self, entry: Activity) -> SafeString:
        return markup.brief(entry.changes_in_words, 120) if entry.changes else markup.quiet("–")

    @admin.display(description="from")
    def origin(self, entry: Activity) -> SafeString | str:
        return entry.address or markup.quiet("unknown")


def _linked(name: str, url: str) -> SafeString:
    """The name, leading to its page if there is one to see."""
    return format_html('<a class="link" href="{}">{}</a>' if url else "{1}", url, name)
