"""A filtered list of the admin as a CSV file, and the record that somebody took it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from activity.log import record
from activity.models import Activity
from common.csv_export import LIMIT, csv_response

Rows = Callable[[QuerySet[Any]], Iterable[Sequence[Any]]]


def export_list(
    request: HttpRequest,
    model: type[Model],
    action: str,
    header: Sequence[str],
    rows: Rows,
    *,
    permission: str = "",
) -> HttpResponseBase:
    """A download of what the model's list shows for this request's query string.

    action: what is recorded, `things.exported`; the file's name starts with the things. rows: makes
    the file's rows of the list's. permission: that it takes, with that to see the list. Filters
    that the list refuses lead back to the list.

    Raises PermissionDenied.
    """
    pages: Any = admin.site.get_model_admin(model)
    if permission and not request.user.has_perm(permission):
        raise PermissionDenied
    if not pages.has_view_permission(request):
        raise PermissionDenied
    try:
        found = pages.get_changelist_instance(request).get_queryset(request)
    except IncorrectLookupParameters:
        options = model._meta
        return HttpResponseRedirect(
            reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
        )
    things = action.partition(".")[0].replace("_", "-")
    filename = f"{things}-{timezone.now().astimezone(UTC):%Y%m%dT%H%M%SZ}.csv"
    chosen = {name: ", ".join(values) for name, values in request.GET.lists()}
    entry = record(request, action, filename, after={"filter": chosen})
    if model is Activity:  # without the entry that this makes
        found = found.filter(pk__lt=entry.pk)
    return csv_response(filename, header, rows(found[: LIMIT + 1]))
