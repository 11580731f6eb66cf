"""Connections that failed: which, and how they are tried again or forgotten."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q, QuerySet

from integrations.models import Connection

FAILED = Q(attempt__gt=0) | ~Q(reconnect_since=None)


def failed() -> QuerySet[Connection]:
    """Those whose last fetch failed, the longest waiting first."""
    return Connection.objects.filter(FAILED).select_related("owner").order_by("not_before", "pk")


def retry(rows: Iterable[Connection]) -> int:
    """Have failed ones fetched at the next look; return how many.

    One that needs to be connected again is left alone: its service would reject it again. So is one
    that its service asked to leave alone.
    """
    keys = [row.pk for row in rows]
    waiting = Connection.objects.filter(pk__in=keys, reconnect_since=None, attempt__gt=0)
    return waiting.exclude(last_error="").update(not_before=None)


def flush() -> int:
    """Forget failures: each is due again by its frequency, and its next failure is the first.

    What a service asked to wait stays.
    """
    rows = Connection.objects.filter(attempt__gt=0, reconnect_since=None)
    with transaction.atomic():
        waiting = rows.filter(last_error="").update(attempt=0)
        return waiting + rows.update(attempt=0, last_error="", not_before=None)
