"""The list of tenants: in an order that no sync changes, with its freshness said once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.contrib.admin.views.main import ORDER_VAR
from django.db.models import F, Func, QuerySet
from django.db.models.functions import Collate
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, strip_tags
from django.utils.safestring import SafeString

from common import markup
from common.model_admin import BoundedPaginator, DecoratedChangeList
from syncs.status.queries import TargetStatus
from tenants.admin.tenant import badges
from tenants.admin.tenant.filters import ActivityFilter, freshness_of

Order = tuple[Any, ...]
_NAME = Collate(Func("name", function="rainbo_name_key"), "C")
USUAL: Order = ("instance_id", "pk")

# By column: up, and down; each is an index of its own, read forwards or backwards. What is unknown
# is the least: it comes last where the most is wanted.
ORDERS: Mapping[str, tuple[Order, Order]] = {
    "called": ((_NAME.asc(), "pk"), (_NAME.desc(), "-pk")),
    "at": (USUAL, ("-instance_id", "-pk")),
    "state": (
        ("status", "instance_id", "trial_ends_at", "pk"),
        ("-status", "-instance_id", "-trial_ends_at", "-pk"),
    ),
    "users": (
        (F("user_count").asc(nulls_first=True), "pk"),
        (F("user_count").desc(nulls_last=True), "-pk"),
    ),
    "trial_end": (("trial_ends_at", "pk"), ("-trial_ends_at", "-pk")),
    "activity": (
        (F("last_activity_at").asc(nulls_first=True), "pk"),
        (F("last_activity_at").desc(nulls_last=True), "-pk"),
    ),
}
FRESH = "fresh"  # the last column, so that the others keep their numbers without it


class ActivityPaginator(BoundedPaginator):
    """Counts as the index of activity has them: a scan of the table might read all."""

    in_order = True


def order_of(request: HttpRequest, chosen: Mapping[int, str], columns: Any) -> Order | None:
    """The order that was asked for; None for the usual one. chosen: the way, by column."""
    if request.GET.get(ORDER_VAR):
        for number, way in chosen.items():
            if 0 <= number < len(columns) and (both := ORDERS.get(columns[number])):
                return both[way == "desc"]
    if (asked := request.GET.get(ActivityFilter.parameter_name)) in ActivityFilter.CHOICES:
        return ORDERS["activity"][asked in ActivityFilter.RECENT]
    return None


class TenantList(DecoratedChangeList):
    list_display: Any

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        chosen = self.get_ordering_field_columns()
        return [*(order_of(request, chosen, self.list_display) or USUAL)]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = freshness_of(request).instances
        for row in self.result_list:
            row.target = found.get(row.instance_id)
        states = Counter(_state(row.target) for row in self.result_list)
        self.usual = next((state for state, _ in states.most_common(1)), None)
        for row in self.result_list:
            row.differs = _state(row.target) != self.usual
        if len(states) < 2:
            self.list_display = [name for name in self.list_display if name != FRESH]
        self.differing = len(states) > 1

    @property
    def freshness(self) -> SafeString | str:
        """Of most of the page: `on time, confirmed 5 min ago`."""
        usual = [row.target for row in self.result_list if not row.differs]
        if not usual:
            return ""
        ages = sorted(target.confirmed_at for target in usual if target and target.confirmed_at)
        shown = badges.summary_freshness(usual[0])
        if not ages:
            return shown
        now = timezone.now()
        oldest, newest = markup.age(ages[0], now), markup.age(ages[-1], now)
        alike = strip_tags(oldest) == strip_tags(newest)  # as read: to the second, they differ
        span = oldest if alike else format_html("{} to {}", newest, oldest)
        return format_html("{} confirmed {}", shown, span)

    def export_url(self) -> str:
        query = self.get_query_string(remove=["p"])
        return reverse("admin:tenants_tenant_export") + str(query).rstrip("?")


def _state(target: TargetStatus | None) -> str | None:
    return target.freshness.state if target else None
