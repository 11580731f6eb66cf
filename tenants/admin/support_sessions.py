"""The console's pages of support access: who was let into which tenant, why, and how it went."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.admin_filters import Choices, DaysFilter, PersonFilter, PlainFilter
from common.model_admin import DecoratedChangeList, ReadOnlyAdmin
from tenants.admin.support import badges, export, page
from tenants.models import RdsInstance, SupportSession
from tenants.models.support_session import SupportState

STATES: dict[str, Q] = {
    SupportState.ISSUED: Q(closed_at=None, redeemed_at=None),
    SupportState.OPEN: Q(closed_at=None, redeemed_at__isnull=False),
    SupportState.ENDED: Q(closed_at__isnull=False, redeemed_at__isnull=False),
    SupportState.UNUSED: Q(closed_at__isnull=False, redeemed_at=None),
}


class StateFilter(PlainFilter):
    title = "state"
    all_option = ("", "all")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(state.value, state.label.lower()) for state in SupportState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = STATES.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen)


class WhoFilter(PersonFilter):
    lookup = "person"


class InstanceFilter(PlainFilter):
    title = "instance"
    all_option = ("", "all")
    parameter_name = "instance"
    lookup = "instance_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(str(instance.pk), str(instance)) for instance in RdsInstance.objects.all()]


class SessionList(DecoratedChangeList):
    def export_url(self) -> str:
        query = self.get_query_string(remove=["p"])
        return reverse("admin:tenants_supportsession_export") + str(query).rstrip("?")


@admin.register(SupportSession)
class SupportSessionAdmin(ReadOnlyAdmin):
    list_display = ("when", "who", "where", "at", "state", "why", "took", "end")
    list_display_links = ("when",)
    list_filter = (StateFilter, WhoFilter, InstanceFilter, ("issued_at", DaysFilter))
    list_filter_submit = True
    list_before_template = "tenants/support_tools.html"
    sortable_by = ()
    search_fields = ("person", "tenant_name", "tenant_id", "ticket")
    search_help_text = "The beginning of who or which tenant; its id or the ticket"
    empty_text = "Nobody has entered a tenant as support yet."
    change_form_outer_before_template = "tenants/support_session_page.html"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A session's page is our own: nothing of it is a form's field."""
        return ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SessionList]:
        return SessionList

    def get_custom_urls(self) -> Any:
        return (
            ("export/", "tenants_supportsession_export", export.export_view),
            ("<uuid:pk>/end/", "tenants_supportsession_end", page.end_view),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SupportSession], search_term: str
    ) -> tuple[QuerySet[SupportSession], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        named = Q(person__istartswith=term) | Q(tenant_name__istartswith=term)
        return queryset.filter(named | Q(tenant_id=term) | Q(ticket__iexact=term)), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["page"] = page.context(request, context["original"])
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    @admin.display(description="issued")
    def when(self, row: SupportSession) -> SafeString:
        return markup.age(row.issued_at, timezone.now())

    @admin.display(description="who")
    def who(self, row: SupportSession) -> str:
        return row.person

    @admin.display(description="tenant")
    def where(self, row: SupportSession) -> str:
        return row.tenant

    @admin.display(description="instance")
    def at(self, row: SupportSession) -> str:
        return f"{row.instance_id} {row.instance_name}"

    @admin.display(description="state")
    def state(self, row: SupportSession) -> SafeString:
        return format_html("{} {}", badges.state_badge(row), badges.warning_badge(row))

    @admin.display(description="why")
    def why(self, row: SupportSession) -> SafeString:
        return markup.brief(row.reason)

    @admin.display(description="requests")
    def took(self, row: SupportSession) -> SafeString:
        return markup.number(row.requests, "none" if row.redeemed_at is None else "unknown")

    @admin.display(description="ended by")
    def end(self, row: SupportSession) -> SafeString:
        return markup.brief(row.ended_by) if row.ended_by else markup.quiet("–")
