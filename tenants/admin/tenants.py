"""The console's list of tenants, and the way to each one's page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.model_admin import (
    BoundedPaginator,
    DecoratedChangeList,
    EmptyResult,
    PageOfItsOwn,
    ReadOnlyAdmin,
)
from tenants.admin.instance.condition import mark
from tenants.admin.instance.filters import InstanceFilter
from tenants.admin.tenant import actions, badges, export, page, support_access
from tenants.admin.tenant.filters import (
    ActivityFilter,
    FreshnessFilter,
    StatusFilter,
    TrialFilter,
    VanishedFilter,
    freshness_of,
)
from tenants.admin.tenant.ordered_paginator import InstanceByInstance
from tenants.admin.tenant.tenant_list import FRESH, ORDERS, USUAL, ActivityPaginator, TenantList
from tenants.models import RdsInstance, Tenant
from tenants.summaries import search


@admin.register(Tenant)
class TenantAdmin(PageOfItsOwn, ReadOnlyAdmin):
    list_display = (
        *("called", "at", "remote", "state", "users", "locations"),
        *("trial_end", "activity", FRESH),
    )
    list_before_template = "tenants/tenant_list_top.html"
    list_filter = (
        *(FreshnessFilter, StatusFilter, TrialFilter, ActivityFilter, VanishedFilter),
        ("instance", InstanceFilter),
    )
    list_select_related = ("instance",)
    search_fields = ("name",)  # there is a search: get_search_results does it
    sortable_by = tuple(ORDERS)
    empty_text = "No tenant has been read yet: run manage.py sync_tenant_summaries."
    search_help_text = "Beginnings of words of the name or the contact e-mail, or the id"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DecoratedChangeList]:
        return TenantList

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], per_page: int, *_: Any, **__: Any
    ) -> Paginator[Any]:
        """In the usual order, tenants are read instance by instance: each filter has its index."""
        if request.GET.get(ActivityFilter.parameter_name):
            return ActivityPaginator(queryset, per_page)
        if queryset.query.order_by != USUAL or request.GET.get("q", "").strip():
            return BoundedPaginator(queryset, per_page)
        return InstanceByInstance(queryset, per_page, freshness_of(request).order)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Tenant], search_term: str
    ) -> tuple[QuerySet[Tenant], bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(search.matching(search_term)), False

    def nothing(self, term: str) -> EmptyResult:
        """How the search reads a term, and the first of several words as a wider one."""
        words = term.split()
        if not words:
            return EmptyResult()
        why = "Each word must begin a word of the name or the contact e-mail, or all be the id."
        return EmptyResult((why,), words[0] if len(words) > 1 else "")

    def get_custom_urls(self) -> Any:
        return (
            ("export/", "tenants_tenant_export", export.export_view),
            ("<int:pk>/live/", "tenants_tenant_live", actions.live_view),
            ("<int:pk>/sync/", "tenants_tenant_sync", actions.sync_view),
            ("<int:pk>/enter/", "tenants_tenant_enter", support_access.enter_view),
            ("<int:pk>/opt-out/", "tenants_tenant_opt_out", support_access.opt_out_view),
            ("<int:pk>/opt-in/", "tenants_tenant_opt_in", support_access.opt_in_view),
        )

    def page(self, request: HttpRequest, found: Tenant) -> HttpResponse:
        return page.response(request, found)

    @admin.display(description="tenant", ordering="name")
    def called(self, tenant: Tenant) -> str:
        return tenant.name or "without a name"

    @admin.display(description="id there")
    def remote(self, tenant: Tenant) -> str:
        return tenant.remote_id

    @admin.display(description="instance", ordering="instance")
    def at(self, tenant: Tenant) -> SafeString:
        return _named(tenant.instance)

    @admin.display(description="status", ordering="status")
    def state(self, tenant: Tenant) -> SafeString:
        return badges.status_badge(tenant)

    @admin.display(description="users", ordering="user_count")
    def users(self, tenant: Tenant) -> SafeString:
        return markup.number(tenant.user_count)

    @admin.display(description="locations")
    def locations(self, tenant: Tenant) -> SafeString:
        return markup.number(tenant.location_count)

    @admin.display(description="trial ends", ordering="trial_ends_at")
    def trial_end(self, tenant: Tenant) -> SafeString:
        return markup.age(tenant.trial_ends_at, timezone.now(), missing="no trial")

    @admin.display(description="last activity", ordering="last_activity_at")
    def activity(self, tenant: Tenant) -> SafeString:
        return markup.age(tenant.last_activity_at, timezone.now(), missing="unknown")

    @admin.display(description="freshness")
    def fresh(self, tenant: Any) -> SafeString | str:
        """Of a row that differs from the page, which says the rest once."""
        if not tenant.differs:
            return ""
        age = markup.age(tenant.target and tenant.target.confirmed_at, timezone.now())
        return format_html(
            "{} {}", badges.summary_freshness(tenant.target), age if tenant.target else ""
        )


def _named(instance: RdsInstance) -> SafeString:
    wrong = mark(instance.health, is_active=instance.is_active)
    return format_html("{} {} {}", instance.pk, instance.name, wrong)
