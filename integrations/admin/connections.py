"""The console's pages of connections: what needs a hand comes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin

from activity.changes import Reading, reading
from activity.recorded_admin import Recorded
from common import markup
from common.admin_filters import Choices, PlainFilter
from common.model_admin import BoundedPaginator, DecoratedChangeList, EmptyResult, StrictUrls
from integrations import access, disconnecting, plugin, registration, state_query, states
from integrations.admin import buttons, connecting, connection_page
from integrations.admin.connection_form import ChangeForm, ConnectForm
from integrations.due import State
from integrations.models import Connection

RECORDED = ("name", "base_url", "account", "update_frequency_minutes", "enabled", "is_shared")
HANDS = (State.RECONNECT, State.HELD, State.FAILED, State.RETRYING)
HANDS_FIRST = Case(
    *(When(**{state_query.NAME: str(one)}, then=Value(rank)) for rank, one in enumerate(HANDS)),
    When(**{state_query.NAME: str(State.DISABLED)}, then=Value(len(HANDS) + 1)),
    default=Value(len(HANDS)),
)


class ServiceFilter(PlainFilter):
    title = "service"
    all_option = ("", "every service")
    parameter_name = "service"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        known = plugin.all_plugins()
        return [(name, known[name].title) for name in sorted(known)]


class StateFilter(PlainFilter):
    title = "state"
    all_option = ("", "every state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(_named(state), str(state)) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        by_name = {_named(state): str(state) for state in State}
        if not (name := self.value()):
            return queryset
        return queryset.filter(**{state_query.NAME: by_name.get(name, "")})


class CountedList(DecoratedChangeList):
    """A page of connections, and how many are in each state."""

    @cached_property
    def counts(self) -> list[dict[str, Any]]:
        """Of all that this person sees, whatever the page is filtered by."""
        return [
            {
                "badge": markup.badge(str(state), connection_page.TONES[state]),
                "number": markup.number(number),
                "url": f"?state={_named(state)}",
            }
            for state, number in state_query.count(self.root_queryset).items()
        ]


@admin.register(Connection)
class ConnectionAdmin(StrictUrls, Recorded, ModelAdmin):
    thing = "connection"
    added_as = "added"
    list_display = ("called", "state", "following", "fetched", "records", "person")
    list_filter = (StateFilter, ServiceFilter)
    list_before_template = "integrations/connections_top.html"
    search_fields = ("name", "account", "owner__username")
    search_help_text = "Name, account or owner"
    empty_text = "No account is connected yet. manage.py integrations_add connects one, too."
    paginator = BoundedPaginator
    actions = None
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    change_form_outer_before_template = "integrations/connection_page.html"
    add_fieldsets = (
        (None, {"fields": ("service", "name", "token")}),
        ("About", {"fields": ("account", "base_url", "minutes", "is_shared")}),
    )
    fieldsets = (
        (None, {"fields": ("name", "account", "update_frequency_minutes")}),
        ("Use", {"fields": ("enabled", "is_shared")}),
        ("Address", {"fields": ("base_url", "token")}),
    )
    form = ChangeForm

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        return state_query.with_state(access.visible(request.user), timezone.now())

    def get_ordering(self, request: HttpRequest) -> Sequence[Any]:
        return (HANDS_FIRST, "service", "pk")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CountedList]:
        return CountedList

    def complete(self, rows: Sequence[Any]) -> None:
        judged = states.judge(rows, timezone.now())
        for row in rows:
            row.judged = judged[row.pk]

    def nothing(self, term: str) -> EmptyResult:
        return EmptyResult()

    def get_custom_urls(self) -> Any:
        return (
            ("<int:pk>/fetch/", "integrations_connection_fetch", buttons.fetch_view),
            ("<int:pk>/pause/", "integrations_connection_pause", buttons.pause_view),
            ("<int:pk>/resume/", "integrations_connection_resume", buttons.resume_view),
            ("<int:pk>/reconnect/", "integrations_connection_reconnect", buttons.reconnect_view),
            ("<int:pk>/disconnect/", "integrations_connection_disconnect", buttons.disconnect_view),
            ("connect/<slug:service>/", "integrations_connection_connect", connecting.connect_view),
            (
                "<int:pk>/connect/",
                "integrations_connection_connect_again",
                connecting.connect_again_view,
            ),
            (
                "callback/<slug:service>/",
                "integrations_connection_callback",
                connecting.callback_view,
            ),
        )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may = bool(super().has_change_permission(request, obj))
        return may and (obj is None or access.may_manage(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may = bool(super().has_delete_permission(request, obj))
        return may and (obj is None or access.may_manage(request.user, obj))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.add_fieldsets if obj is None else self.fieldsets

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs)
        return type("ConnectForm", (ConnectForm,), {"person": request.user})

    @method_decorator(sensitive_post_parameters("token"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(*args, **kwargs)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if (row := context["original"]) and not context["errors"]:
            context |= {"page": connection_page.context(row, request.user)}
        elif row is None:
            context |= {"ways": connection_page.ways()}
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        """Write only what the person changed: runs write to the same row meanwhile."""
        if change:
            fields = [name for name in form.changed_data if name not in ("base_url", "token")]
            if fields:
                obj.save(update_fields=fields)
            if "base_url" in form.changed_data:
                registration.move(obj, obj.base_url, form.cleaned_data["token"])
            elif token := form.cleaned_data.get("token"):
                registration.reconnect(obj, token)
            return
        added = registration.add(form.cleaned_data["given"])
        obj.pk = added.pk

    def delete_model(self, request: HttpRequest, obj: Connection) -> None:
        """The service withdraws what it granted, as far as it can be asked."""
        said, is_left = disconnecting.withdraw(obj)
        super().delete_model(request, obj)
        messages.add_message(request, messages.WARNING if is_left else messages.INFO, said)

    def facts(self, row: Connection) -> Reading:
        return reading(row, ("service", "owner", *RECORDED))

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The activity has it."""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Without a list of its records, of which there are thousands."""
        count = sum(row.record_count for row in objs)
        return [str(row) for row in objs], {"connections": len(objs), "records": count}, set(), []

    @admin.display(description="connection")
    def called(self, row: Connection) -> str:
        known = plugin.all_plugins().get(row.service)
        return f"{known.title if known else row.service}: {row.name}"

    @admin.display(description="state")
    def state(self, row: Any) -> SafeString:
        badge = connection_page.badge(row.judged)
        if not row.last_error:
            return badge
        error = markup.brief(row.last_error, 48)
        return format_html('{} <span class="error-line">{}</span>', badge, error)

    @admin.display(description="next")
    def following(self, row: Any) -> SafeString:
        return connection_page.following(row.judged, timezone.now())

    @admin.display(description="last fetched")
    def fetched(self, row: Connection) -> SafeString:
        return markup.age(row.last_successful_update_at, timezone.now())

    @admin.display(description="records")
    def records(self, row: Connection) -> SafeString:
        return markup.number(row.record_count)

    @admin.display(description="owner")
    def person(self, row: Connection) -> str:
        return f"{row.owner}{', shared' if row.is_shared else ''}"


def _named(state: State) -> str:
    """As addresses have it."""
    return state.name.lower()
