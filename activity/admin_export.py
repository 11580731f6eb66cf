"""The activity log as a CSV file: the rows of the filtered list, for users with permission."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.http import require_POST

from activity.list_export import export_list
from activity.models import Activity
from common.csv_export import utc

HEADER = (
    *("at (UTC)", "who", "user id", "from", "action", "description", "on what", "kind", "id"),
    *("before", "after"),
)
CHUNK = 2_000


@require_POST
def export_view(request: HttpRequest, **_: Any) -> HttpResponseBase:
    return export_list(request, Activity, "activity.exported", HEADER, _cells)


def _cells(found: QuerySet[Activity]) -> Iterator[tuple[Any, ...]]:
    for row in found.iterator(CHUNK):
        yield (
            utc(row.at),
            *(row.actor, row.actor_id, row.address, row.action, row.what),
            *(row.subject, row.subject_kind, row.subject_id),
            *(_text(row.before), _text(row.after)),
        )


def _text(values: Any) -> str:
    return "" if values is None else json.dumps(values, ensure_ascii=False)
