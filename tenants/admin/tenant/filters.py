"""The filters of the list of tenants; an index serves each within an instance."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from syncs.status.freshness import State
from tenants.models.tenant import TenantStatus
from tenants.summaries import freshness, search
from tenants.summaries.freshness import UNUSED, TenantFreshness

Choices = list[tuple[str, str]]
TRIAL_DAYS = (7, 14, 30)
ENDED = ("ended", "ended")
STATES = (State.STALE, State.LATE, State.UNKNOWN, State.ON_TIME)


def freshness_of(request: HttpRequest) -> TenantFreshness:
    """Judged once for a page: its filter and its rows agree."""
    found: TenantFreshness | None = getattr(request, "tenant_freshness", None)
    if found is None:
        found = freshness.read()
        request.tenant_freshness = found  # type: ignore[attr-defined]
    return found


class FreshnessFilter(admin.SimpleListFilter):
    title = "freshness"
    parameter_name = "fresh"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [*((state.value, state.label) for state in STATES), (UNUSED, "not synced")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if (state := self.value()) is None:
            return queryset
        return queryset.filter(instance_id__in=freshness_of(request).of_state(state))


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(status, status) for status in search.statuses()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(status=self.value()) if self.value() else queryset


class TrialFilter(admin.SimpleListFilter):
    title = "trial ends"
    parameter_name = "trial"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [*((str(days), f"within {days} days") for days in TRIAL_DAYS), ENDED]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        if self.value() == ENDED[0]:
            return queryset.filter(status=TenantStatus.TRIAL, trial_ends_at__lt=now)
        days = next((days for days in TRIAL_DAYS if str(days) == self.value()), None)
        if days is None:
            return queryset
        ends = (now, now + timedelta(days=days))
        return queryset.filter(status=TenantStatus.TRIAL, trial_ends_at__range=ends)


class ActivityFilter(admin.SimpleListFilter):
    """The list is in the order of activity, unless another is chosen: one index serves both."""

    title = "last activity"
    parameter_name = "activity"
    RECENT: ClassVar = {"7": 7, "30": 30}
    QUIET: ClassVar = {"quiet30": 30, "quiet90": 90}
    UNKNOWN = "unknown"
    CHOICES = (*RECENT, *QUIET, UNKNOWN)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        recent = [(key, f"within {days} days") for key, days in self.RECENT.items()]
        quiet = [(key, f"none for {days} days") for key, days in self.QUIET.items()]
        return [*recent, *quiet, (self.UNKNOWN, "unknown")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen, now = self.value() or "", timezone.now()
        if days := self.RECENT.get(chosen):
            return queryset.filter(last_activity_at__gte=now - timedelta(days=days))
        if days := self.QUIET.get(chosen):
            return queryset.filter(last_activity_at__lt=now - timedelta(days=days))
        if chosen == self.UNKNOWN:
            return queryset.filter(last_activity_at=None)
        return queryset


class VanishedFilter(admin.SimpleListFilter):
    title = "vanished at the source"
    parameter_name = "vanished"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("yes", "no"):
            return queryset.filter(vanished_at__isnull=self.value() == "no")
        return queryset
