"""The console's pages of ghost users: who is meant to enter which instance, and who can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import manage_command, markup
from common.markup import Tone
from common.model_admin import ReadOnlyAdmin
from tenants.admin.ghost import actions, matrix
from tenants.admin.instance.condition import mark, notices_of
from tenants.admin.instance.filters import InstanceFilter
from tenants.ghosts import coverage, owed
from tenants.models import GhostUser
from tenants.models.ghost import GhostState

WANTED_TONES: dict[str, Tone] = {
    GhostState.ACTIVE: Tone.GOOD,
    GhostState.INACTIVE: Tone.QUIET,
}
CONFIRMED_TONES: dict[str, Tone] = {
    GhostState.ACTIVE: Tone.GOOD,
    GhostState.INACTIVE: Tone.QUIET,
    GhostState.ABSENT: Tone.QUIET,
    GhostState.REFUSED: Tone.BAD,
    GhostState.UNKNOWN: Tone.WARNING,
}


MATRIX_TAKES = frozenset({"q", "p"})  # what the matrix can be asked; all rows know more


@admin.register(GhostUser)
class GhostAdmin(ReadOnlyAdmin):
    list_display = ("who", "at", "wish", "found", "seen", "there", "error")
    list_filter = (("instance", InstanceFilter), "wanted", "confirmed")
    list_select_related = ("instance",)
    search_fields = ("admin_id",)
    empty_text = "No ghost user is known yet: manage.py sync_ghost_users makes them."
    search_help_text = "User name or id of the admin"
    change_form_outer_before_template = "tenants/ghost_tools.html"
    fieldsets = (
        (None, {"fields": ("who", "at", "wish", "found", "seen_at", "there", "full_error")}),
    )
    readonly_fields = ("who", "at", "wish", "found", "seen_at", "there", "full_error")

    def get_custom_urls(self) -> Any:
        return (
            ("all/", "tenants_ghostuser_all", self.all_view),
            ("sync/", "tenants_ghostuser_sync", actions.sync_view),
        )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The matrix. A filter of the rows leads to all rows."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if not MATRIX_TAKES.issuperset(request.GET):
            url = reverse("admin:tenants_ghostuser_all")
            return HttpResponseRedirect(f"{url}?{request.GET.urlencode()}")
        context = {
            **admin.site.each_context(request),
            "title": "Who can enter which instance?",
            "opts": self.opts,
            "matrix": matrix.read(request.GET.get("q", ""), request.GET.get("p")),
            "may_run": request.user.has_perm(actions.RUN),
        }
        return TemplateResponse(request, "tenants/ghost_matrix.html", context)

    def all_view(self, request: HttpRequest, **_: Any) -> HttpResponse:
        response: HttpResponse = super().changelist_view(request)
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        ghost = context["original"]
        command = f"sync_ghost_users --rds {ghost.instance_id} --admin {ghost.admin_id}"
        wanted = coverage.wanted_ids()
        leaving = owed.instances_without(wanted, [ghost.admin_id])
        context |= {
            "instance_notices": notices_of(request, [ghost.instance], timezone.now()),
            "may_sync": ghost.instance.keeps_ghosts or ghost.instance in leaving,
            "sync_command": manage_command.line(command),
        }
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    def complete(self, rows: Sequence[Any]) -> None:
        names = dict(
            get_user_model()
            .objects.filter(pk__in={row.admin_id for row in rows})
            .values_list("pk", "username")
        )
        for row in rows:
            row.admin_name = names.get(row.admin_id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[GhostUser], search_term: str
    ) -> tuple[QuerySet[GhostUser], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        users = get_user_model().objects.filter(username__icontains=term)
        wanted = Q(admin_id__in=users.values("pk"))
        if term.isascii() and term.isdecimal() and len(term) < 19:
            wanted |= Q(admin_id=int(term))
        return queryset.filter(wanted), False

    @admin.display(description="admin", ordering="admin_id")
    def who(self, ghost: Any) -> str:
        name = ghost.admin_name
        return f"{name} ({ghost.admin_id})" if name else f"deleted user ({ghost.admin_id})"

    @admin.display(description="instance", ordering="instance")
    def at(self, ghost: GhostUser) -> SafeString:
        at = ghost.instance
        return format_html("{} {}", at, mark(at.health, is_active=at.is_active))

    @admin.display(description="wanted", ordering="wanted")
    def wish(self, ghost: GhostUser) -> SafeString:
        return markup.badge(ghost.wanted, WANTED_TONES[ghost.wanted])

    @admin.display(description="confirmed", ordering="confirmed")
    def found(self, ghost: GhostUser) -> SafeString:
        tone = CONFIRMED_TONES[ghost.confirmed]
        if ghost.confirmed == GhostState.ACTIVE and ghost.wanted == GhostState.INACTIVE:
            tone = Tone.BAD
        return markup.badge(ghost.confirmed, tone)

    @admin.display(description="seen", ordering="confirmed_at")
    def seen(self, ghost: GhostUser) -> SafeString:
        return markup.age(ghost.confirmed_at, timezone.now())

    @admin.display(description="seen")
    def seen_at(self, ghost: GhostUser) -> SafeString:
        return markup.moment(ghost.confirmed_at, timezone.now())

    @admin.display(description="user id there")
    def there(self, ghost: GhostUser) -> SafeString | str:
        return ghost.remote_id or markup.quiet("unknown")

    @admin.display(description="last error")
    def error(self, ghost: GhostUser) -> SafeString:
        return markup.brief(ghost.last_error)

    @admin.display(description="last error")
    def full_error(self, ghost: GhostUser) -> str:
        return ghost.last_error or "none"
