"""Pages of tenants in the order of their instances: read by index until a page is full."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.core.paginator import Page
from django.db import connection
from django.db.models import QuerySet
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
        """Counted by the database: it sends a number, not thousands of ids."""
        rows = self._ask("SELECT count(*) FROM ({}) AS found", self.limit + 1)
        return int(rows[0][0]) if rows else 0

    def page(self, number: Any) -> Page[Any]:
        number = self.validate_number(number)
        keys = self._keys(self.per_page, (number - 1) * self.per_page)
        rows: Any = self.object_list
        found = rows.model.objects.select_related("instance").in_bulk(keys)
        return Page([found[key] for key in keys if key in found], number, self)

    def _keys(self, count: int, start: int) -> list[int]:
        return [key for (key,) in self._ask("{}", count, start)]

    def _ask(self, about: str, count: int, start: int = 0) -> list[tuple[int]]:
        """about: what is asked of the ids in their order; without rows if there can be none."""
        rows: Any = self.object_list
        within = rows.filter(instance_id=RawSQL("wanted.id", ())).order_by("pk").values("id")
        try:
            inner, given = within[: start + count].query.sql_with_params()
        except EmptyResultSet:  # a filter that nothing can match
            return []
        with connection.cursor() as cursor:
            statement = about.format(_IN_ORDER.format(inner))
            cursor.execute(statement, [list(self.order), *given, count, start])
            return list(cursor.fetchall())
