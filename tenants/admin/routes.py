"""The console's pages of routes. There are millions: nothing here reads more than it shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Max, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.errors import UsageError
from common.markup import Tone
from common.model_admin import BoundedPaginator, EmptyResult, ReadOnlyAdmin
from syncs.models import Confirmation
from tenants.admin.instance.condition import Notice, mark, notices_of
from tenants.find import lookup, search
from tenants.models import RdsInstance, UserRoute
from tenants.routes import tenant_pages, withheld
from tenants.routes.queries import instance_called
from tenants.support_access import admission

BY_EMAIL = ("email_key", "source_id")
BY_TENANT = ("remote_instance_id", "remote_tenant_id", *BY_EMAIL)  # begins like its index
SHOWN = ("name", "health", "is_active", "is_master", "last_check_at")  # of an instance
LONGEST_KEY = 2_000  # characters of a search: no e-mail that is stored is longer


class RouteInstanceFilter(admin.SimpleListFilter):
    """By the instance as the directory names it; the index by tenant serves it."""

    title = "instance"
    parameter_name = "instance"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(instance.pk), str(instance)) for instance in RdsInstance.objects.all()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(remote_instance_id=value) if value else queryset


class TenantFilter(admin.SimpleListFilter):
    """One tenant of the chosen instance; shown only where a link has set it."""

    title = "tenant"
    parameter_name = "tenant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get("tenant")
        return [(chosen, f"tenant {chosen}")] if chosen and request.GET.get("instance") else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(remote_tenant_id=value) if value else queryset


class ReadersFilter(admin.SimpleListFilter):
    """Those that readers aren't shown have an index of their own; the others need none."""

    title = "shown to readers"
    parameter_name = withheld.FILTER

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(withheld.WITHHELD, "withheld"), ("shown", "shown")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(withheld_reason__isnull=self.value() != withheld.WITHHELD)


class RoutePaginator(BoundedPaginator):
    """Routes of an instance may lie together anywhere: a scan of the table would read others."""

    in_order = True


@admin.register(UserRoute)
class RouteAdmin(ReadOnlyAdmin):
    paginator = RoutePaginator
    list_display = ("mail", "where", "at", "person", "state", "synced", "hidden")
    list_filter = (ReadersFilter, RouteInstanceFilter, TenantFilter)
    search_fields = ("email_key",)
    empty_text = "No route has been read yet: run manage.py sync_user_routing."
    search_help_text = "An e-mail, or its beginning with * at the end"
    sortable_by = ()
    change_form_outer_before_template = "tenants/instance_notices.html"
    fieldsets = (
        (None, {"fields": ("email", "where", "at", "state", "hidden")}),
        ("Account", {"fields": ("person", "remote_user_id", "remote_tenant_id", "source_id")}),
        ("Times", {"fields": ("source_time", "changed", "synced_at")}),
    )
    readonly_fields = (
        *("where", "at", "state", "hidden", "person", "source_time", "changed", "synced_at"),
    )

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        is_few = request.GET.get(withheld.FILTER) == withheld.WITHHELD
        if request.GET.get("instance") and not request.GET.get("q") and not is_few:
            return BY_TENANT
        return BY_EMAIL

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UserRoute], search_term: str
    ) -> tuple[QuerySet[UserRoute], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        key = search.email_key(term.removesuffix("*")[:LONGEST_KEY])
        chosen = search.email_begins if term.endswith("*") else search.email_is
        return chosen(queryset, key), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """With what is wrong with the instance it leads to, and with the one that it is from."""
        context |= {"instance_notices": _notices(request, context["original"])}
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    def nothing(self, term: str) -> EmptyResult:
        """What find_user says, and the search for e-mails that begin so."""
        term = term.strip()
        if not term or term.endswith("*"):
            return EmptyResult()
        try:
            found = lookup.find(term[:LONGEST_KEY])
        except UsageError as error:
            return EmptyResult((_sentence(str(error)),))
        count = len(found.shown) + len(found.withheld)
        routes = "route" if count == 1 else "routes"
        hidden = (f"It has {count} {routes} hidden by the filter.",) if count else ()
        why = tuple(map(_sentence, found.why))
        return EmptyResult((*hidden, *why, f"The cache of routes is {found.cache}."), f"{term}*")

    def complete(self, rows: Sequence[Any]) -> None:
        """Two queries, whatever the number of rows: their tenants, and the confirmation."""
        named = {(row.remote_instance_id, row.remote_tenant_id) for row in rows}
        tenants = tenant_pages.tenants_of(named)
        instances = {str(row.pk): row for row in RdsInstance.objects.only(*SHOWN)}
        at = _confirmed_at()
        for row in rows:
            row.tenant = tenants.get((row.remote_instance_id, row.remote_tenant_id))
            row.instance = instances.get(row.remote_instance_id)
            row.confirmed_at = at
            row.may_enter = False

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """An account's own page leads into its tenant."""
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            found.may_enter = request.user.has_perm(admission.OPEN)
        return found

    @admin.display(description="e-mail")
    def mail(self, route: UserRoute) -> str:
        return route.email

    @admin.display(description="tenant")
    def where(self, route: Any) -> SafeString | str:
        if route.tenant is None:
            place = (
                f"tenant {route.remote_tenant_id} on {instance_called(route.remote_instance_id)}"
            )
            return markup.quiet(f"{place}, not yet read")
        url = reverse("admin:tenants_tenant_change", args=[route.tenant.pk])
        link = format_html('<a class="link" href="{}">{}</a>', url, route.tenant.name)
        if not route.may_enter:
            return link
        enter = reverse("admin:tenants_tenant_enter", args=[route.tenant.pk])
        words = '{} · <a class="link" href="{}">Enter as support</a>'
        return format_html(words, link, enter)

    @admin.display(description="instance")
    def at(self, route: Any) -> SafeString | str:
        number = route.remote_instance_id
        if route.instance is None:
            return markup.quiet(f"{instance_called(number)}, not registered")
        wrong = mark(route.instance.health, is_active=route.instance.is_active)
        return format_html("{} {}", route.instance, wrong)

    @admin.display(description="user")
    def person(self, route: UserRoute) -> SafeString | str:
        return route.user_name or markup.quiet("unknown")

    @admin.display(description="status")
    def state(self, route: UserRoute) -> SafeString:
        if route.status is None:
            return markup.quiet("unknown")
        active = route.status.lower() == "active"
        return markup.badge(route.status, Tone.GOOD if active else Tone.QUIET)

    @admin.display(description="synced")
    def synced(self, route: Any) -> SafeString:
        return markup.age(route.confirmed_at, timezone.now())

    @admin.display(description="shown to readers")
    def hidden(self, route: UserRoute) -> SafeString:
        if route.withheld_reason is None:
            return markup.badge("shown", Tone.GOOD)
        return format_html(
            "{} {}",
            markup.badge("withheld", Tone.WARNING),
            markup.brief(route.withheld_reason, 60),
        )

    @admin.display(description="changed at the source")
    def source_time(self, route: UserRoute) -> SafeString:
        return markup.moment(route.source_updated_at, timezone.now(), missing="unknown")

    @admin.display(description="changed here")
    def changed(self, route: UserRoute) -> SafeString:
        return markup.moment(route.changed_at, timezone.now())

    @admin.display(description="synced")
    def synced_at(self, route: Any) -> SafeString:
        return markup.moment(route.confirmed_at, timezone.now())


def _notices(request: HttpRequest, route: Any) -> list[Notice]:
    found = [*RdsInstance.objects.filter(is_master=True).only(*SHOWN)]
    if route.instance is not None and route.instance not in found:
        found.insert(0, route.instance)
    return notices_of(request, found, timezone.now())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _confirmed_at() -> datetime | None:
    """When the routing sync last proved the routes equal to the master's directory."""
    at: datetime | None = Confirmation.objects.filter(sync="user_routing").aggregate(at=Max("at"))[
        "at"
    ]
    return at
