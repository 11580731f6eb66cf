"""What the console's lists of cached rows share: they are read-only, and fast with millions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

View = Callable[..., HttpResponseBase]
OF = "of"  # a list's parameter: app.model:id


def post_only(view: View) -> View:
    """Decorate the view of a button: other methods get a page that explains it."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST":
            return view(request, *args, **kwargs)
        page = render(request, "405.html", status=405)
        page["Allow"] = "POST"
        return page

    return guarded


class BoundedPaginator(Paginator[Any]):
    """Counts up to a limit and shows no page beyond it: to see more, users search.

    in_order: the first rows are counted, as an index has them, not any.
    """

    template_name = "console/pagination.html"
    limit = 10_000
    in_order = False

    @cached_property
    def _found(self) -> int:
        rows: Any = self.object_list
        return int((rows if self.in_order else rows.order_by())[: self.limit + 1].count())

    @cached_property
    def count(self) -> int:
        return min(self._found, self.limit)

    @property
    def count_in_words(self) -> str:
        return f"{self.count:,}"

    @property
    def is_cut(self) -> bool:
        return self._found > self.limit


@dataclass(frozen=True)
class EmptyResult:
    """What a search that found nothing says: why, and a wider search to try."""

    lines: tuple[str, ...] = ()
    wider: str = ""


class StrictChangeList(ChangeList):
    """Filtered by its own filters only, never by a value that PostgreSQL can't store.

    Django accepts any lookup of any field: an encrypted password would leak letter by letter.
    """

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        request.GET = _without_nul(request.GET)  # type: ignore[assignment]
        super().__init__(request, *args, **kwargs)

    def get_filters(self, request: HttpRequest) -> Any:
        found = super().get_filters(request)
        if unknown := found[2]:
            raise DisallowedModelAdminLookup(f"no filter takes {', '.join(unknown)}")
        return found


class StrictUrls:
    """Goes before ModelAdmin among the bases: an address reveals nothing that its page doesn't,
    and breaks none."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[StrictChangeList]:
        return StrictChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        if "\0" in object_id:
            return None
        return super().get_object(request, object_id, from_field or None)  # type: ignore[misc]


def _without_nul(query: QueryDict) -> QueryDict:
    """No row holds the one character that PostgreSQL can't."""
    clean = query.copy()
    for name, values in query.lists():
        clean.setlist(name, [value.replace("\0", "") for value in values])
    return clean


class DecoratedChangeList(StrictChangeList):
    """A page of rows with what they need from elsewhere."""

    result_list: Any
    full_result_count: int | None

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count  # else the header says it once more
        self.result_list = list(self.result_list)
        self.model_admin.complete(self.result_list)

    @cached_property
    def nothing(self) -> EmptyResult:
        found: EmptyResult = self.model_admin.nothing(self.query)
        return found

    def wider_link(self) -> str:
        return str(self.get_query_string({"q": self.nothing.wider}, ["p"]))


def activity_page(kind: str, pk: object) -> str:
    """The list of what was done to one object. kind: app.model."""
    return reverse("admin:activity_activity_changelist", query={OF: f"{kind}:{pk}"})


class HistoryInActivity:
    """Goes before ModelAdmin among the bases: Django's own history may be changed, ours not."""

    model: Any

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        return HttpResponseRedirect(activity_page(self.model._meta.label_lower, object_id))


class PageOfItsOwn:
    """Goes before ModelAdmin among the bases: a row's page is a view of our own, without a form."""

    opts: Any
    has_view_permission: Callable[..., bool]
    get_object: Callable[..., Any]
    _get_obj_does_not_exist_redirect: Callable[..., HttpResponse]

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        if request.method == "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_object(request, object_id)
        if found is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return self.page(request, found)

    def page(self, request: HttpRequest, found: Any) -> HttpResponse:
        """Return the page of a row."""
        raise NotImplementedError


class ReadOnlyAdmin(StrictUrls, HistoryInActivity, ModelAdmin):
    """Show rows that only syncs write. They are not added, changed or deleted by hand."""

    actions = None
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    empty_text = ""  # what a list without any row says: the next step

    def complete(self, rows: Sequence[Any]) -> None:
        """Read what rows need from other tables, in a fixed number of queries."""

    def nothing(self, term: str) -> EmptyResult:
        """Why a search for this term found nothing, as far as is known."""
        return EmptyResult()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DecoratedChangeList]:
        return DecoratedChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            self.complete([found])
        return found

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
