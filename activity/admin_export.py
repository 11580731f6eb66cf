"""The activity log as a CSV file: the rows of the filtered list, for users with permission."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from activity.log import record
from activity.models import Activity
from common.csv_export import LIMIT, csv_response

HEADER = (
    *("at (UTC)", "who", "user id", "from", "action", "description", "on what", "kind", "id"),
    *("before", "after"),
)
CHUNK = 2_000


@require_POST
def export_view(request: HttpRequest, **_: Any) -> HttpResponseBase:
    pages: Any = admin.site.get_model_admin(Activity)
    if not pages.has_view_permission(request):
        raise PermissionDenied
    try:
        found = pages.get_changelist_instance(request).get_queryset(request)
    except IncorrectLookupParameters:
        return HttpResponseRedirect(reverse("admin:activity_activity_changelist"))
    filename = f"activity-{timezone.now().astimezone(UTC):%Y%m%dT%H%M%SZ}.csv"
    chosen = {name: ", ".join(values) for name, values in request.GET.lists()}
    entry = record(request, "activity.exported", filename, after={"filter": chosen})
    rows = found.filter(pk__lt=entry.pk)[: LIMIT + 1].iterator(CHUNK)
    return csv_response(filename, HEADER, _cells(rows))


def _cells(rows: Iterator[Activity]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        yield (
            row.at.astimezone(UTC).isoformat(),
            *(row.actor, row.actor_id, row.address, row.action, row.what),
            *(row.subject, row.subject_kind, row.subject_id),
            *(_text(row.before), _text(row.after)),
        )


def _text(values: Any) -> str:
    return "" if values is None else json.dumps(values, ensure_ascii=False)
