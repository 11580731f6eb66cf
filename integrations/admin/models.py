"""The console's pages of models and their prices: read-only, of catalogues that a user may read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity.list_export import export_list
from common import markup
from common.admin_filters import Choices, PlainFilter
from common.csv_export import LIMIT
from common.markup import Tone
from common.model_admin import DecoratedChangeList, EmptyResult, ReadOnlyAdmin, post_only
from common.text import counted
from integrations import access, model_queries
from integrations.admin import price_chart
from integrations.catalogues.offer import PRICES, price_text
from integrations.models import CatalogueModel

State = CatalogueModel.State
TONES = {
    State.LISTED: Tone.GOOD,
    State.MISSING: Tone.WARNING,
    State.DELISTED: Tone.QUIET,
    State.BACK: Tone.BUSY,
}
CHUNK = 2_000
SHOWN_CHANGES = 100
FACTS = ("provider", "mode", "context", "state", "missing", "ends_on", "varies", "alias_of")
HEADER = (
    *("catalogue", "model", *FACTS),
    *(f"{price_chart.TITLES[name]} (USD per million tokens)" for name in PRICES),
    *("first seen (UTC)", "prices since (UTC)"),
)


class CatalogueFilter(PlainFilter):
    title = "catalogue"
    all_option = ("", "every catalogue")
    parameter_name = "catalogue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        rows = access.readable_connections(request.user).filter(service=model_queries.SERVICE)
        return [(str(row.pk), row.name) for row in rows[:500]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        is_id = value.isascii() and value.isdecimal() and len(value) < 18
        return queryset.filter(connection=int(value)) if is_id else queryset


class StateFilter(PlainFilter):
    title = "state"
    all_option = ("", "every state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(str(state), str(state)) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state=self.value()) if self.value() in set(State) else queryset


class PriceFilter(PlainFilter):
    title = "input price"
    all_option = ("", "any price")
    parameter_name = "price"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("free", "free"), ("paid", "above zero"), ("unknown", "unknown")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted: dict[str, dict[str, Any]] = {
            "free": {"input": 0},
            "paid": {"input__gt": 0},
            "unknown": {"input": None},
        }
        return queryset.filter(**wanted.get(self.value() or "", {}))


class ExportedList(DecoratedChangeList):
    """A page of models, and what an export of all that it filters brings."""

    def export_url(self) -> str:
        query = self.get_query_string(remove=["p"])
        return reverse("admin:integrations_cataloguemodel_export") + str(query).rstrip("?")

    def export_text(self) -> str:
        if self.paginator.is_cut:
            return f"more than {self.paginator.limit:,} models, {LIMIT:,} at the most"
        return counted(self.paginator.count, "model")


@admin.register(CatalogueModel)
class ModelAdmin(ReadOnlyAdmin):
    list_display = ("called", "provided", "input_price", "output_price", "window", "condition")
    list_filter = (CatalogueFilter, StateFilter, PriceFilter)
    search_fields = ("name",)
    search_help_text = "Name"
    sortable_by = ()
    empty_text = (
        "No catalogue of models was read yet: connect one under Connections, by its address."
    )
    fields = ("name", "offered_by", "kind", "window", "alias", "first_seen_at")
    readonly_fields = fields
    list_before_template = "integrations/models_tools.html"
    change_form_outer_before_template = "integrations/model_page.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[CatalogueModel]:
        return model_queries.readable_models(request.user)

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        return ("name", "pk")

    def get_custom_urls(self) -> Any:
        return (("export/", "integrations_cataloguemodel_export", export_view),)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ExportedList]:
        return ExportedList

    def nothing(self, term: str) -> EmptyResult:
        return EmptyResult(("Names are searched as their catalogues write them.",))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if row := context["original"]:
            context |= {"page": _page(row, request.user)}
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """None is deleted by hand; all go with their connection, or with its owner."""
        page = request.resolver_match.url_name if request.resolver_match else ""
        is_own = (page or "").startswith("integrations_cataloguemodel")
        return not is_own and bool(request.user.has_perm("integrations.delete_connection"))

    @admin.display(description="model")
    def called(self, row: CatalogueModel) -> SafeString:
        return markup.brief(row.name, 80)

    @admin.display(description="provider")
    def offered_by(self, row: CatalogueModel) -> SafeString:
        return _known(row.provider)

    @admin.display(description="mode")
    def kind(self, row: CatalogueModel) -> SafeString:
        return _known(row.mode)

    @admin.display(description="alias of")
    def alias(self, row: CatalogueModel) -> SafeString:
        return _known(row.alias_of, "none")

    @admin.display(description="provider, catalogue")
    def provided(self, row: CatalogueModel) -> str:
        return ", ".join(filter(None, [row.provider, row.connection.name]))

    @admin.display(description="input")
    def input_price(self, row: CatalogueModel) -> SafeString:
        return _price(row, "input")

    @admin.display(description="output")
    def output_price(self, row: CatalogueModel) -> SafeString:
        return _price(row, "output")

    @admin.display(description="context")
    def window(self, row: CatalogueModel) -> SafeString:
        return _context(row)

    @admin.display(description="state")
    def condition(self, row: CatalogueModel) -> SafeString:
        return _state(row)


@post_only
def export_view(request: HttpRequest, **_: Any) -> HttpResponseBase:
    """The models of the filtered list, of those that the user may read, as a file."""
    return export_list(request, CatalogueModel, "models.exported", HEADER, _lines)


def _page(row: CatalogueModel, user: Any) -> dict[str, Any]:
    """What a model's page shows before its facts."""
    now = timezone.now()
    changes = model_queries.price_history(row)
    others = model_queries.compare(row, user)
    return {
        "badge": _state(row),
        "prices": [(price_chart.TITLES[name], _price(row, name)) for name in PRICES],
        "varies": row.varies,
        "since": markup.moment(row.priced_at, now),
        "state_since": markup.moment(row.state_since, now),
        "ends_on": row.ends_on,
        "is_past": row.ends_on is not None and row.ends_on < now.date(),
        "charts": price_chart.charts(row, changes, now),
        "changes": [
            {
                "at": markup.exact(one.at),
                "what": price_chart.TITLES.get(one.field, one.field),
                "old": price_chart.shown(one.old),
                "new": price_chart.shown(one.new),
            }
            for one in reversed(changes[-SHOWN_CHANGES:])
        ],
        "more": max(len(changes) - SHOWN_CHANGES, 0),
        "others": [_other(one, row) for one in others] if len(others) > 1 else [],
    }


def _other(one: CatalogueModel, row: CatalogueModel) -> dict[str, Any]:
    return {
        "name": one.name,
        "is_this": one.pk == row.pk,
        "url": reverse("admin:integrations_cataloguemodel_change", args=[one.pk]),
        "provider": one.provider,
        "catalogue": one.connection.name,
        "input": _price(one, "input"),
        "output": _price(one, "output"),
        "context": _context(one),
        "state": _state(one),
    }


def _known(text: str, missing: str = "unknown") -> SafeString:
    return format_html("{}", text) if text else markup.quiet(missing)


def _price(row: CatalogueModel, name: str) -> SafeString:
    price = getattr(row, name)
    text = price_chart.shown(price)
    return markup.quiet(text) if price is None else format_html("{}", text)


def _context(row: CatalogueModel) -> SafeString:
    return markup.number(row.context) if row.context else markup.quiet("unknown")


def _state(row: CatalogueModel) -> SafeString:
    since = f"since {timezone.localtime(row.state_since):%Y-%m-%d %H:%M %Z}"
    return markup.badge(row.state_text, TONES[State(row.state)], since)


def _lines(found: QuerySet[CatalogueModel]) -> Iterator[Sequence[Any]]:
    """Prices in all their digits; what is unknown is empty."""
    for row in found.iterator(CHUNK):
        prices = (getattr(row, name) for name in PRICES)
        yield (
            row.connection.name,
            row.name,
            *(getattr(row, name) for name in FACTS),
            *("" if price is None else price_text(price) for price in prices),
            f"{row.first_seen_at:%Y-%m-%d %H:%M:%S}",
            f"{row.priced_at:%Y-%m-%d %H:%M:%S}",
        )
