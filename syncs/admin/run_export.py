"""What a run withheld and holds, as files: streamed, and recorded as taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404

from activity.log import record
from common.csv_export import csv_response
from common.model_admin import post_only
from syncs.admin import held_changes, withheld_rows
from syncs.models import SyncRun

VIEW = "syncs.view_syncrun"
WITHHELD = ("instance", "source row", "what", "reason", "since (UTC)")
HELD = ("instance", "change", "source row", "detail", "instance of the tenant", "tenant")


@post_only
def withheld_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponseBase:
    run = _found(request, pk)
    rows = (
        (row.instance, row.source_id, row.what, row.reason, row.since.astimezone(UTC).isoformat())
        for row in withheld_rows.rows(run, request.user.has_perm)
    )
    return _file(request, run, "withheld", WITHHELD, rows)


@post_only
def held_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponseBase:
    run = _found(request, pk)
    rows = (
        (
            *(change.label, change.kind, change.source_id, change.detail),
            *(change.tenant_instance, change.tenant),
        )
        for change in held_changes.changes(run, withheld_rows.CHUNK)
    )
    return _file(request, run, "held", HELD, rows)


def _found(request: HttpRequest, pk: int) -> SyncRun:
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    return get_object_or_404(SyncRun, pk=pk)


def _file(
    request: HttpRequest,
    run: SyncRun,
    what: str,
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> HttpResponseBase:
    filename = f"run-{run.pk}-{what}.csv"
    record(request, "run.exported", run, after={"file": filename})
    return csv_response(filename, header, rows, limit=None)
