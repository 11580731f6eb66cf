"""The console's pages of records: read-only, and of the connections that a user may read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from common import markup
from common.admin_filters import Choices, PlainFilter
from common.markup import Tone
from common.model_admin import ReadOnlyAdmin
from integrations import access
from integrations.models import ExternalRecord
from integrations.models.connection import parse_key

MOST_CHANGES = 50


class ConnectionFilter(PlainFilter):
    title = "connection"
    all_option = ("", "every connection")
    parameter_name = "connection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(str(row.pk), str(row)) for row in access.visible(request.user)[:500]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        pk = parse_key(self.value() or "")
        return queryset if pk is None else queryset.filter(connection=pk)


class GoneFilter(PlainFilter):
    title = "still there"
    all_option = ("", "all")
    parameter_name = "gone"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("no", "still there"), ("only", "gone")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("no", "only"):
            return queryset
        return queryset.filter(gone_at__isnull=self.value() == "no")


@admin.register(ExternalRecord)
class RecordAdmin(ReadOnlyAdmin):
    list_display = ("called", "kind", "condition", "happened", "changed", "source")
    list_filter = (ConnectionFilter, GoneFilter)
    search_fields = ("title", "external_id")
    search_help_text = "Title or id"
    sortable_by = ()
    empty_text = "Nothing was fetched yet: connect an account first."
    fields = (
        *("kind", "external_id", "title", "address", "source", "happened"),
        *("first_seen_at", "changed_at", "gone_at", "content", "history"),
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExternalRecord]:
        return access.readable_records(request.user)

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        return ("-pk",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """None is deleted by hand; all go with their connection, or with its owner."""
        page = request.resolver_match.url_name if request.resolver_match else ""
        is_own = (page or "").startswith("integrations_externalrecord")
        return not is_own and bool(request.user.has_perm("integrations.delete_connection"))

    @admin.display(description="record")
    def called(self, row: ExternalRecord) -> SafeString:
        return markup.brief(row.title or row.external_id, 80)

    @admin.display(description="state")
    def condition(self, row: ExternalRecord) -> SafeString:
        if row.gone_at is None:
            return markup.badge("there", Tone.GOOD)
        return markup.badge("gone", Tone.QUIET, markup.exact(row.gone_at))

    @admin.display(description="happened")
    def happened(self, row: ExternalRecord) -> SafeString:
        return markup.age(row.occurred_at, timezone.now(), missing="unknown")

    @admin.display(description="last changed")
    def changed(self, row: ExternalRecord) -> SafeString:
        return markup.age(row.changed_at, timezone.now())

    @admin.display(description="connection")
    def source(self, row: ExternalRecord) -> str:
        return str(row.connection)

    @admin.display(description="address")
    def address(self, row: ExternalRecord) -> SafeString | str:
        """A link only where the service's own address is plain: never a script."""
        if not row.link.startswith("https://"):
            return row.link or markup.quiet("none")
        return format_html(
            '<a class="link" rel="noreferrer" href="{}"><bdi>{}</bdi></a>', row.link, row.link
        )

    @admin.display(description="content")
    def content(self, row: ExternalRecord) -> SafeString:
        shown = json.dumps(row.body, indent=2, sort_keys=True, ensure_ascii=False)
        return format_html("<pre>{}</pre>", shown)

    @admin.display(description="changes")
    def history(self, row: ExternalRecord) -> SafeString:
        changes = list(row.changes.all()[:MOST_CHANGES])
        if not changes:
            return markup.quiet("none")
        return format_html_join(
            "",
            "<p>{}: {} was {}, is {}</p>",
            ((markup.exact(c.at), c.field, json.dumps(c.old), json.dumps(c.new)) for c in changes),
        )
