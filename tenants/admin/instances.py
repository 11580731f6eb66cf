"""The console's pages of instances: register, edit, test and check them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import ProtectedError, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin

from syncs import markup
from syncs.markup import Tone
from tenants import identity
from tenants.admin import instance_checks
from tenants.admin.instance_form import InstanceForm
from tenants.models import RdsInstance
from tenants.models.instance import Health

HEALTH_TONES: dict[str, Tone] = {
    Health.HEALTHY: Tone.GOOD,
    Health.DEGRADED: Tone.WARNING,
    Health.DOWN: Tone.BAD,
    Health.UNKNOWN: Tone.QUIET,
}
FOUND = ("condition", "latency", "checked_at", "version", "error_in_full", "identified", "origin")


@admin.register(RdsInstance)
class InstanceAdmin(ModelAdmin):
    form = InstanceForm
    list_display = (
        *("number", "name", "address", "part", "condition", "latency", "checked", "version"),
        "error",
    )
    list_display_links = ("number", "name")
    list_filter = ("health", "is_active", "ssl_mode")
    search_fields = ("name", "host", "=id")
    empty_words = "No instance is registered yet. manage.py add_instance registers one, too."
    search_help_text = "Name, host or id"
    ordering = ("id",)
    show_facets = admin.ShowFacets.NEVER
    change_form_outer_before_template = "tenants/instance_tools.html"
    actions = ("test_connections", "check_now")
    readonly_fields = FOUND
    fieldsets = (
        (None, {"fields": (("id", "name"), ("is_active", "is_master"))}),
        ("Connection", {"fields": (("host", "port"), ("database", "user"), "new_password")}),
        ("Security", {"fields": (("ssl_mode", "require_auth"), "ssl_ca")}),
        ("About", {"fields": ("app_url", "notes")}),
        ("Found by checks", {"fields": FOUND}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the password for those who may only look, and nothing found for a new one."""
        given = [*self.fieldsets] if obj else [*self.fieldsets[:-1]]
        if obj and not self.has_change_permission(request, obj):
            given[1] = ("Connection", {"fields": (("host", "port"), ("database", "user"))})
        return given

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("id", *FOUND) if obj else FOUND

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_custom_urls(self) -> Any:
        return (
            ("<int:pk>/test-connection/", "tenants_rdsinstance_test", instance_checks.test_view),
            ("<int:pk>/check-now/", "tenants_rdsinstance_check", instance_checks.check_view),
        )

    @method_decorator(sensitive_post_parameters("new_password"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: RdsInstance, form: Any, change: bool) -> None:
        """Write only what the person changed: checks write to the same rows meanwhile."""
        if not identity.stays_where_it_is(obj):
            identity.forget_proofs(obj.pk)
        if not change:
            obj.save(force_insert=True)
            return
        changed = set(form.changed_data) - {"new_password"}
        obj.save(update_fields=changed | {"password"} if form.sealed else changed)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        instance = self.get_object(request, object_id)
        if instance is not None and (reason := _why_it_stays(instance)):
            return self._refuse_deletion(request, instance, reason)
        try:
            response: HttpResponse = super().delete_view(request, object_id, extra_context)
        except ProtectedError:  # something came while the person was asked
            return self._refuse_deletion(request, instance, _why_it_stays(instance))
        return response

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Without a list of its checks, of which there are thousands."""
        count = sum(instance.checks.count() for instance in objs)
        names = [str(instance) for instance in objs]
        return names, {"instances": len(names), "health checks": count}, set(), []

    def has_check_permission(self, request: HttpRequest) -> bool:
        return instance_checks.may_check(request)

    def _refuse_deletion(
        self, request: HttpRequest, instance: RdsInstance, reason: str
    ) -> HttpResponse:
        if not self.has_delete_permission(request, instance):
            reason = "You may not delete instances."
        messages.error(request, reason)
        url = reverse("admin:tenants_rdsinstance_change", args=[instance.pk])
        return HttpResponseRedirect(url)

    @admin.action(description="Test connection", permissions=["check"])
    def test_connections(self, request: HttpRequest, queryset: QuerySet[RdsInstance]) -> None:
        instance_checks.tell_tests(request, list(queryset))

    @admin.action(description="Check now", permissions=["check"])
    def check_now(self, request: HttpRequest, queryset: QuerySet[RdsInstance]) -> None:
        instance_checks.ask_for_check(request, list(queryset))

    @admin.display(description="id", ordering="id")
    def number(self, instance: RdsInstance) -> str:
        return f"{instance.pk}"

    @admin.display(description="address", ordering="host")
    def address(self, instance: RdsInstance) -> str:
        return f"{instance.host}:{instance.port}/{instance.database}"

    @admin.display(description="use", ordering="is_active")
    def part(self, instance: RdsInstance) -> SafeString:
        active = markup.badge("active", Tone.GOOD) if instance.is_active else ""
        idle = "" if instance.is_active else markup.badge("inactive", Tone.QUIET)
        master = markup.badge("master", Tone.BUSY) if instance.is_master else ""
        return format_html("{}{} {}", active, idle, master)

    @admin.display(description="health", ordering="health")
    def condition(self, instance: RdsInstance) -> SafeString:
        return markup.badge(instance.health, HEALTH_TONES[instance.health])

    @admin.display(description="latency", ordering="latency_ms")
    def latency(self, instance: RdsInstance) -> SafeString:
        if instance.latency_ms is None:
            return markup.quiet("unknown")
        return format_html('<span class="number">{} ms</span>', f"{instance.latency_ms:,.2f}")

    @admin.display(description="last check", ordering="last_check_at")
    def checked(self, instance: RdsInstance) -> SafeString:
        return markup.age(instance.last_check_at, timezone.now())

    @admin.display(description="last check")
    def checked_at(self, instance: RdsInstance) -> SafeString:
        return markup.moment(instance.last_check_at, timezone.now())

    @admin.display(description="version", ordering="server_version")
    def version(self, instance: RdsInstance) -> SafeString | str:
        return instance.server_version or markup.quiet("unknown")

    @admin.display(description="last error")
    def error(self, instance: RdsInstance) -> SafeString:
        return markup.brief(instance.last_error)

    @admin.display(description="last error")
    def error_in_full(self, instance: RdsInstance) -> str:
        return instance.last_error or "none"

    @admin.display(description="identity")
    def identified(self, instance: RdsInstance) -> SafeString | str:
        return instance.identity or markup.quiet("not met yet")

    @admin.display(description="restored from a copy of")
    def origin(self, instance: RdsInstance) -> SafeString | str:
        return str(instance.copy_of) if instance.copy_of else markup.quiet("no other instance")


def _why_it_stays(instance: RdsInstance) -> str:
    """Why an instance can't be deleted; empty when it can."""
    tenants, ghosts = instance.tenants.count(), instance.ghosts.count()
    if not tenants and not ghosts:
        return ""
    return (
        f"{instance} can't be deleted: RAINBO still knows {tenants:,} of its tenants and "
        f"{ghosts:,} ghost users on it. Make it inactive instead."
    )
