"""Pages of tenants in the order of their instances: read by index until a page is full.

A sort by freshness would read every tenant; freshness belongs to the instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.core.paginator import Page
from django.db import connection
from django.db.models import F, Func, QuerySet, Value
from django.db.models.expressions import RawSQL

from common.model_admin import BoundedPaginator

# The limit inside keeps the planner from joining first and sorting everything afterwards.
_IN_ORDER = """
    SELECT found.id
      FROM unnest(%s::integer[]) WITH ORDINALITY AS wanted (id, place)
     CROSS JOIN LATERAL ({}) AS found
     ORDER BY wanted.place, found.id LIMIT %s OFFSET %s"""


class InstanceByInstance(BoundedPaginator):
    """Of a queryset of tenants whose filters an index serves within each instance."""

    def __init__(self, rows: QuerySet[Any], per_page: int, order: Sequence[int]) -> None:
        super().__init__(rows, per_page)
        self.order = order

    @cached_property
    def _found(self) -> int:
        return len(self._keys(self.limit + 1))

    def page(self, number: Any) -> Page[Any]:
        number = self.validate_number(number)
        keys = self._keys(self.per_page, (number - 1) * self.per_page)
        rows: Any = self.object_list
        found = rows.model.objects.select_related("instance").in_bulk(keys)
        return Page([found[key] for key in keys if key in found], number, self)

    def _keys(self, count: int, start: int = 0) -> list[int]:
        rows: Any = self.object_list
        within = rows.filter(instance_id=RawSQL("wanted.id", ())).order_by("pk").values("id")
        try:
            inner, given = within[: start + count].query.sql_with_params()
        except EmptyResultSet:  # a filter that nothing can match
            return []
        with connection.cursor() as cursor:
            cursor.execute(_IN_ORDER.format(inner), [list(self.order), *given, count, start])
            return [key for (key,) in cursor.fetchall()]


def sorted_by(rows: QuerySet[Any], order: Iterable[int]) -> QuerySet[Any]:
    """The same order for few rows, such as those that a search found."""
    place = Func(Value([*order]), F("instance_id"), function="array_position")
    return rows.order_by(place, "pk")
