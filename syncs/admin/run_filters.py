"""The filters of the list of runs; each is answered by an index."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from common.admin_filters import Choices, DaysFilter, PersonFilter, PlainFilter
from syncs.engine import registry
from syncs.engine.registry import Sync
from syncs.models import RunState, RunTarget, Trigger

DAYS = "created_at"
FREQUENT = "frequent"
EACH_MINUTE = "* * * * *"


class SyncFilter(PlainFilter):
    """By the syncs that the code knows: their names are never gathered from the runs."""

    title = "sync"
    all_option = ("", "every sync")
    parameter_name = "sync"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(sync.name, sync.title) for sync in registry.all_syncs()]


class StateFilter(PlainFilter):
    title = "state"
    all_option = ("", "every state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [*RunState.choices]


class TriggerFilter(PlainFilter):
    title = "requested by"
    all_option = ("", "anything")
    parameter_name = "trigger"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [*Trigger.choices]


class RunInstanceFilter(PlainFilter):
    """Runs with a part of this instance; one that no sync takes any more comes by its address."""

    title = "instance"
    all_option = ("", "every instance")
    parameter_name = "instance"
    lookup = "targets__target"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        known = {t.key: t.label for sync in registry.scheduled_syncs() for t in sync.targets()}
        if (value := self.value()) and value not in known:
            last = RunTarget.objects.filter(target=value).order_by("-run").first()
            known[value] = last.label if last else value
        return [*known.items()]


class DryFilter(PlainFilter):
    title = "dry runs"
    all_option = ("", "with dry runs")
    parameter_name = "dry"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("no", "without dry runs"), ("only", "dry runs only")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        dry = {"options__has_key": "dry_run"}
        if self.value() == "only":
            return queryset.filter(**dry)
        return queryset.exclude(**dry) if self.value() == "no" else queryset


class FrequentFilter(PlainFilter):
    """Runs of each minute would fill the list: they are folded until somebody asks for anything.

    What is left is named, not what is folded: an index has the runs of each sync.
    """

    title = "runs of each minute"
    all_option = ("", "folded in the list of all")
    parameter_name = FREQUENT

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("shown", "shown")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not folded(request):
            return queryset
        return queryset.filter(sync__in=[s.name for s in registry.all_syncs() if not _frequent(s)])


def folded(request: HttpRequest) -> list[str]:
    """The titles of the syncs whose runs the list leaves out: none once something is chosen."""
    if any(value for name, value in request.GET.items() if name != "p"):
        return []
    return [sync.title for sync in registry.all_syncs() if _frequent(sync)]


def _frequent(sync: Sync) -> bool:
    return sync.cron == EACH_MINUTE


ALL = (
    *(
        SyncFilter,
        StateFilter,
        RunInstanceFilter,
        TriggerFilter,
        PersonFilter,
        DryFilter,
        FrequentFilter,
    ),
    (DAYS, DaysFilter),
)
