"""Pages of long lists by key: a page costs the same wherever it begins, and skips no row."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from ninja.params.functions import Query

MOST = 200
Limit = Annotated[int, Query(ge=1, le=MOST, description="rows of a page")]
Key = Annotated[
    int | None,
    Query(ge=1, le=2**63 - 1, description="only rows beyond this one, as `next` has it"),
]


def page(
    request: HttpRequest, rows: QuerySet[Any], limit: int, *, newest_first: bool = False
) -> tuple[list[Any], str | None]:
    """Return a page of rows, by their ids, and the address of the next one, if there is one.

    The parameter of the key is `before` for the newest first, else `after`.
    """
    name = "before" if newest_first else "after"
    found: list[Model] = list(rows.order_by("-pk" if newest_first else "pk")[: limit + 1])
    if len(found) <= limit:
        return found, None
    found = found[:limit]
    parameters = request.GET.copy()
    parameters[name] = str(found[-1].pk)
    query = urlencode([(key, value) for key, values in parameters.lists() for value in values])
    return found, f"{request.path}?{query}"
