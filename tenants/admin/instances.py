"""The console's pages of instances: register, edit, test and check them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Case, ProtectedError, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin

from activity.changes import Reading, reading
from activity.recorded_admin import Recorded
from common import markup
from common.model_admin import (
    BoundedPaginator,
    DecoratedChangeList,
    EmptyResult,
    PageOfItsOwn,
    StrictUrls,
)
from common.text import in_viewer_zone, without_subject
from tenants.admin.instance import activation, checks, page, syncs
from tenants.admin.instance.filters import GroupFilter, LabelFilter
from tenants.admin.instance.form import InstanceForm
from tenants.admin.instance.health_chart import HEALTH_TONES, milliseconds
from tenants.fleet import identity
from tenants.health.overview import WORST_FIRST
from tenants.models import RdsInstance

RECORDED = (
    *("name", "host", "port", "writer_host", "writer_port", "database", "user"),
    *("ssl_mode", "ssl_ca", "require_auth", "app_url", "tenant_url", "is_active", "is_master"),
    *("notes", "schema_group", "has_tenants", "has_ghosts", "group", "labels"),
    *("ghost_roles", "support_mail", "support_mail_text"),
)
ADDRESS = (("host", "port"), ("database", "user"), ("writer_host", "writer_port"))
TLS = (("ssl_mode", "require_auth"), "ssl_ca")
RANK = Case(
    When(is_active=False, then=Value(len(WORST_FIRST))),
    *(When(health=health, then=Value(rank)) for rank, health in enumerate(WORST_FIRST)),
)


@admin.register(RdsInstance)
class InstanceAdmin(PageOfItsOwn, StrictUrls, Recorded, ModelAdmin):
    thing = "instance"
    added_as = "registered"
    form = InstanceForm
    list_display = (
        *("called", "condition", "latency", "checked", "version"),
        *("last_syncs", "tenants"),
    )
    list_filter = ("health", "is_active", "ssl_mode", GroupFilter, LabelFilter)
    search_fields = ("name", "host", "=id")
    empty_text = "No instance is registered yet. manage.py add_instance registers one, too."
    search_help_text = "Name, host or id"
    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_before_template = "tenants/instance_list_top.html"
    actions = ("test_connections", "check_now")
    fieldsets = (
        (None, {"fields": (("id", "name"), ("is_active", "is_master"), ("group", "labels"))}),
        ("Connection", {"fields": (*ADDRESS, "new_password", *TLS, "save_anyway")}),
        ("Schema", {"fields": (("schema_group",), ("has_tenants", "has_ghosts"))}),
        ("Support access", {"fields": ("ghost_roles", "support_mail", "support_mail_text")}),
        ("About", {"fields": ("app_url", "tenant_url", "notes")}),
    )
    complete = staticmethod(syncs.complete)

    def get_ordering(self, request: HttpRequest) -> Sequence[Any]:
        return (RANK, "pk")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DecoratedChangeList]:
        return DecoratedChangeList

    def nothing(self, term: str) -> EmptyResult:
        return EmptyResult()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the password for users who can only view."""
        given = [*self.fieldsets]
        if obj and not self.has_change_permission(request, obj):
            given[1] = ("Connection", {"fields": (*ADDRESS, *TLS)})
        return given

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """An instance in RAINBO is enabled and disabled on a page that says what that does."""
        return ("id", "is_active") if obj else ()

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_custom_urls(self) -> Any:
        return (
            ("<int:pk>/test-connection/", "tenants_rdsinstance_test", checks.test_view),
            ("<int:pk>/check-now/", "tenants_rdsinstance_check", checks.check_view),
            ("<int:pk>/sync-now/", "tenants_rdsinstance_sync", syncs.sync_view),
            ("<int:pk>/enable/", "tenants_rdsinstance_enable", activation.enable_view),
            ("<int:pk>/disable/", "tenants_rdsinstance_disable", activation.disable_view),
            ("<int:pk>/settings/", "tenants_rdsinstance_settings", self.settings_view),
        )

    def page(self, request: HttpRequest, found: RdsInstance) -> HttpResponse:
        """Its status. Its settings have a page of their own."""
        return page.response(request, found)

    def settings_view(self, request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
        response: HttpResponse = self.changeform_view(request, str(pk))
        return response

    def response_post_save_add(self, request: HttpRequest, obj: RdsInstance) -> HttpResponse:
        """To its page, which offers its first sync."""
        return self.response_post_save_change(request, obj)

    def response_post_save_change(self, request: HttpRequest, obj: RdsInstance) -> HttpResponse:
        """Back to its page, where it can be tested."""
        return HttpResponseRedirect(reverse("admin:tenants_rdsinstance_change", args=[obj.pk]))

    @method_decorator(sensitive_post_parameters("new_password"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: RdsInstance, form: Any, change: bool) -> None:
        """Write only what the person changed: checks write to the same rows meanwhile.

        A new master takes over from the former one.
        """
        if obj.is_master:
            RdsInstance.objects.filter(is_master=True).exclude(pk=obj.pk).update(is_master=False)
        if not identity.stays_where_it_is(obj):
            identity.forget_proofs(obj.pk)
        if not change:
            obj.save(force_insert=True)
            return
        changed = set(form.changed_data) - {"new_password", "save_anyway"}
        obj.save(update_fields=changed | {"password"} if form.re_encrypted else changed)

    def facts(self, row: RdsInstance) -> Reading:
        return reading(row, RECORDED)

    def facts_of_form(self, form: Any) -> Reading:
        return {"password": "changed"} if "new_password" in form.changed_data else {}

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
        return checks.may_check(request)

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
        checks.tell_tests(request, list(queryset))

    @admin.action(description="Check now", permissions=["check"])
    def check_now(self, request: HttpRequest, queryset: QuerySet[RdsInstance]) -> None:
        checks.ask_for_check(request, list(queryset))

    @admin.display(description="instance", ordering="pk")
    def called(self, instance: RdsInstance) -> SafeString:
        """With what is not so of most of them."""
        return format_html("{} {} {}", instance.pk, instance.name, page.exceptional_use(instance))

    @admin.display(description="health", ordering=RANK)
    def condition(self, instance: RdsInstance) -> SafeString:
        state = markup.badge(instance.health, HEALTH_TONES[instance.health])
        if not instance.last_error:
            return state
        said = without_subject(in_viewer_zone(instance.last_error, timezone.now()), str(instance))
        error = markup.brief(said, 48)
        return format_html('{} <span class="error-line">{}</span>', state, error)

    @admin.display(description="latency", ordering="latency_ms")
    def latency(self, instance: RdsInstance) -> SafeString:
        return milliseconds(instance.latency_ms)

    @admin.display(description="last check", ordering="last_check_at")
    def checked(self, instance: RdsInstance) -> SafeString:
        return markup.age(instance.last_check_at, timezone.now())

    @admin.display(description="version", ordering="server_version")
    def version(self, instance: RdsInstance) -> SafeString | str:
        return instance.server_version or markup.quiet("unknown")

    @admin.display(description="last confirmed")
    def last_syncs(self, instance: Any) -> SafeString:
        return syncs.in_line(instance.statuses)

    @admin.display(description="tenants")
    def tenants(self, instance: Any) -> SafeString:
        return markup.number(instance.tenant_count)


def _why_it_stays(instance: RdsInstance) -> str:
    """Why an instance can't be deleted; empty when it can."""
    tenants, ghosts = instance.tenants.count(), instance.ghosts.count()
    if not tenants and not ghosts:
        return ""
    return (
        f"{instance} can't be deleted: RAINBO still knows {tenants:,} of its tenants and "
        f"{ghosts:,} ghost users on it. Make it inactive instead."
    )
