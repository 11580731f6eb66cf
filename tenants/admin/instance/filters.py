"""The filters of the list of instances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from common.admin_filters import Choices, PlainFilter
from syncs.hooks import TargetGroup
from tenants.fleet import targets
from tenants.models import RdsInstance

MOST = 200  # that are offered


class GroupFilter(PlainFilter):
    title = "group"
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return _choices({known.group for known in _known(request).values()})


class LabelFilter(PlainFilter):
    title = "label"
    parameter_name = "label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return _choices({label for known in _known(request).values() for label in known.labels})

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(labels__contains=[self.value()]) if self.value() else queryset


class InstanceFilter(admin.RelatedFieldListFilter):
    """Django's own, without a row and an address made for each instance."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        known = RdsInstance.objects.order_by("pk").values_list("pk", "name")
        return [(pk, RdsInstance.label_of(pk, name)) for pk, name in known]

    def choices(self, changelist: Any) -> Iterator[Any]:
        others = changelist.get_query_string(remove=[self.lookup_kwarg, self.lookup_kwarg_isnull])
        chosen = set(self.lookup_val or ())
        yield {"selected": not chosen, "query_string": others, "display": "All"}
        joint = "" if others == "?" else "&"
        for pk, name in self.lookup_choices:
            address = f"{others}{joint}{self.lookup_kwarg}={pk}"
            yield {"selected": str(pk) in chosen, "query_string": address, "display": name}


def _choices(names: set[str]) -> Choices:
    return [(name, name) for name in sorted(names - {""})[:MOST]]


def _known(request: HttpRequest) -> dict[str, TargetGroup]:
    """Read once for both filters of a page."""
    known: dict[str, TargetGroup] | None = getattr(request, "known_groups", None)
    if known is None:
        known = targets.target_groups()
        request.known_groups = known  # type: ignore[attr-defined]  # of this page alone
    return known
