"""The console's pages of tenants, as the instances last showed them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncs import markup
from syncs.console import ReadOnlyAdmin
from syncs.markup import Tone
from tenants.models import Tenant
from tenants.models.tenant import TenantStatus

STATUS_TONES: dict[str, Tone] = {
    TenantStatus.ACTIVE: Tone.GOOD,
    TenantStatus.TRIAL: Tone.BUSY,
    TenantStatus.SUSPENDED: Tone.WARNING,
    TenantStatus.CANCELLED: Tone.QUIET,
}


class VanishedFilter(admin.SimpleListFilter):
    title = "vanished at the source"
    parameter_name = "vanished"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("yes", "no"):
            return queryset.filter(vanished_at__isnull=self.value() == "no")
        return queryset


@admin.register(Tenant)
class TenantAdmin(ReadOnlyAdmin):
    list_display = (
        *("called", "remote", "at", "state", "users", "locations", "trial_end", "activity"),
        "refreshed",
    )
    list_filter = ("instance", "status", VanishedFilter)
    list_select_related = ("instance",)
    search_fields = ("name", "contact_email", "=remote_id")
    empty_words = "No tenant has been read yet: manage.py sync_tenant_summaries reads them."
    search_help_text = "Name, contact e-mail or id"
    fieldsets = (
        (None, {"fields": ("name", "remote", "at", "state", "contact", "routes")}),
        ("Counts", {"fields": ("users", "locations")}),
        ("Times", {"fields": ("trial_end_at", "subscribed_at", "active_at", "refreshed_at")}),
    )
    readonly_fields = (
        *("remote", "at", "state", "contact", "routes", "users", "locations"),
        *("trial_end_at", "subscribed_at", "active_at", "refreshed_at"),
    )

    @admin.display(description="tenant", ordering="name")
    def called(self, tenant: Tenant) -> str:
        return tenant.name

    @admin.display(description="id there")
    def remote(self, tenant: Tenant) -> str:
        return tenant.remote_id

    @admin.display(description="instance", ordering="instance")
    def at(self, tenant: Tenant) -> str:
        return str(tenant.instance)

    @admin.display(description="status", ordering="status")
    def state(self, tenant: Tenant) -> SafeString:
        known = markup.badge(tenant.status, STATUS_TONES.get(tenant.status, Tone.QUIET))
        if tenant.vanished_at is None:
            return known
        since = f"its source has no longer had it since {markup.exact(tenant.vanished_at)}"
        return format_html("{} {}", known, markup.badge("vanished", Tone.BAD, since))

    @admin.display(description="users", ordering="user_count")
    def users(self, tenant: Tenant) -> SafeString:
        return markup.number(tenant.user_count)

    @admin.display(description="locations", ordering="location_count")
    def locations(self, tenant: Tenant) -> SafeString:
        return markup.number(tenant.location_count)

    @admin.display(description="trial ends", ordering="trial_ends_at")
    def trial_end(self, tenant: Tenant) -> SafeString:
        return markup.age(tenant.trial_ends_at, timezone.now(), missing="no trial")

    @admin.display(description="last activity", ordering="last_activity_at")
    def activity(self, tenant: Tenant) -> SafeString:
        return markup.age(tenant.last_activity_at, timezone.now(), missing="unknown")

    @admin.display(description="refreshed", ordering="cache_refreshed_at")
    def refreshed(self, tenant: Tenant) -> SafeString:
        return markup.age(tenant.cache_refreshed_at, timezone.now())

    @admin.display(description="contact")
    def contact(self, tenant: Tenant) -> str:
        known = [tenant.contact_name or "", tenant.contact_email or ""]
        return ", ".join(filter(None, known)) or "unknown"

    @admin.display(description="routes")
    def routes(self, tenant: Tenant) -> SafeString:
        url = reverse(
            "admin:tenants_userroute_changelist",
            query={
                "instance": tenant.instance_id,
                "tenant": tenant.remote_id,
            },
        )
        return format_html('<a class="link" href="{}">routes of this tenant</a>', url)

    @admin.display(description="trial ends")
    def trial_end_at(self, tenant: Tenant) -> SafeString:
        return markup.moment(tenant.trial_ends_at, timezone.now(), missing="no trial")

    @admin.display(description="subscribed since")
    def subscribed_at(self, tenant: Tenant) -> SafeString:
        return markup.moment(tenant.subscription_started_at, timezone.now(), missing="unknown")

    @admin.display(description="last activity")
    def active_at(self, tenant: Tenant) -> SafeString:
        return markup.moment(tenant.last_activity_at, timezone.now(), missing="unknown")

    @admin.display(description="refreshed")
    def refreshed_at(self, tenant: Tenant) -> SafeString:
        return markup.moment(tenant.cache_refreshed_at, timezone.now())
