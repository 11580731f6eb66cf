"""The console's pages of ghost users: who is meant to enter which instance, and who can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from syncs import markup
from syncs.console import ReadOnlyAdmin
from syncs.markup import Tone
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


@admin.register(GhostUser)
class GhostAdmin(ReadOnlyAdmin):
    list_display = ("who", "at", "wish", "found", "seen", "there", "error")
    list_filter = ("instance", "wanted", "confirmed")
    list_select_related = ("instance",)
    search_fields = ("admin_id",)
    empty_words = "No ghost user is known yet: manage.py sync_ghost_users makes them."
    search_help_text = "User name or id of the admin"
    fieldsets = (
        (None, {"fields": ("who", "at", "wish", "found", "seen_at", "there", "full_error")}),
    )
    readonly_fields = ("who", "at", "wish", "found", "seen_at", "there", "full_error")

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
    def at(self, ghost: GhostUser) -> str:
        return str(ghost.instance)

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
