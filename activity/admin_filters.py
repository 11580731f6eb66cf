"""The filters of the activity list; each is answered by an index."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from activity import queries
from activity.actions import ACTIONS
from common.admin_filters import Choices, PlainFilter
from common.model_admin import OF


class ActionFilter(PlainFilter):
    title = "what"
    all_option = ("", "everything")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return list(ACTIONS.items())


class SinceFilter(PlainFilter):
    title = "when"
    all_option = ("", "at any time")
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("today", "today"), ("7", "the last 7 days"), ("30", "the last 30 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.localtime()
        starts = {
            "today": now.replace(hour=0, minute=0, second=0, microsecond=0),
            "7": now - timedelta(days=7),
            "30": now - timedelta(days=30),
        }
        start = starts.get(self.value() or "")
        return queryset.filter(at__gte=start) if start else queryset


class ObjectFilter(PlainFilter):
    """One object: other pages lead here. Offered only then."""

    title = "on what"
    all_option = ("", "everything")
    parameter_name = OF

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        value = self.value()
        if not value:
            return []
        last = queries.of(*_kind_and_id(value), limit=1)
        return [(value, last[0].subject if last else value)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (value := self.value()):
            return queryset
        kind, pk = _kind_and_id(value)
        return queryset.filter(subject_kind=kind, subject_id=pk)


def _kind_and_id(value: str) -> tuple[str, str]:
    kind, _, pk = value.partition(":")
    return kind, pk
