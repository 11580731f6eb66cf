"""What was found, as rows of tables: each with the links that its reader may follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeVar

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.markup import Tone
from tenants.admin.instance.condition import badge, mark
from tenants.admin.instance.health_chart import HEALTH_TONES
from tenants.admin.tenant import badges
from tenants.admin.tenant.badges import STATUS_TONES
from tenants.find.search import Found, Matches
from tenants.health.condition import Condition
from tenants.models import RdsInstance, RouteRemoval, Tenant
from tenants.routes.queries import Route, instance_called
from tenants.support_access import admission

T = TypeVar("T")
Cells = tuple[tuple[str, SafeString | str], ...]  # a column's name and what stands in it


@dataclass(frozen=True)
class ResultGroup:
    """A list of what a term may also mean. key: names it in the page. names: of its columns."""

    key: str
    title: str
    rows: tuple[Cells, ...]
    more: bool = False

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.rows[0]]


@dataclass(frozen=True)
class Viewer:
    """Who looks, and so which pages lead on. enterable: the tenants they may enter as support."""

    tenants: bool
    instances: bool
    runs: bool
    enterable: frozenset[int] = frozenset()

    @classmethod
    def of(cls, request: HttpRequest, found: Found | None = None) -> Self:
        user: Any = request.user
        tenants = user.has_perm("tenants.view_tenant")
        return cls(
            tenants,
            user.has_perm("tenants.view_rdsinstance"),
            user.has_perm("syncs.view_syncrun"),
            admission.enterable(user, _tenants_of(found)) if found and tenants else frozenset(),
        )

    def row(self, route: Route, now: datetime) -> Cells:
        """An account of the e-mail that was asked for."""
        hidden = route.withheld_reason
        return (
            ("tenant", self._tenant(route)),
            ("instance", self._instance(route)),
            *_person(route),
            ("changed there", markup.age(route.source_updated_at, now, missing="unknown")),
            *([("why it is hidden", markup.brief(hidden))] if hidden else ()),
            *self._support(route.tenant_pk),
        )

    def like_it(self, route: Route) -> Cells:
        """An account of another e-mail."""
        url = reverse("find", query={"q": route.email})
        link = markup.copyable(route.email, _link(url, route.email))
        hidden = markup.badge("withheld", Tone.WARNING, route.withheld_reason or "")
        mail = format_html("{} {}", link, hidden) if route.withheld_reason else link
        return (
            ("e-mail", mail),
            ("tenant", self._tenant(route)),
            ("instance", self._instance(route)),
            *_person(route),
            *self._support(route.tenant_pk),
        )

    def tenant(self, tenant: Tenant, now: datetime) -> Cells:
        url = reverse("admin:tenants_tenant_change", args=[tenant.pk])
        named = {"instance": tenant.instance_id, "tenant": tenant.remote_id}
        routes = reverse("admin:tenants_userroute_changelist", query=named)
        return (
            ("tenant", _link(url, tenant.name)),
            ("id", markup.copyable(f"{tenant.instance_id}:{tenant.remote_id}")),
            ("instance", self._marked(tenant.instance)),
            ("status", badges.status_badge(tenant)),
            ("users", markup.number(tenant.user_count)),
            ("routes", _link(routes, "its routes")),
            ("refreshed", markup.age(tenant.cache_refreshed_at, now)),
            *self._support(tenant.pk),
        )

    def instance(self, instance: RdsInstance, there: Condition, now: datetime) -> Cells:
        """Its address is on its page."""
        known = [instance.group, *instance.labels]
        return (
            ("instance", self._place(instance.pk, str(instance))),
            ("id", markup.copyable(str(instance.pk))),
            ("health", badge(there, now)),
            ("group and labels", ", ".join(filter(None, known)) or markup.quiet("none")),
        )

    def removal(self, removal: RouteRemoval, now: datetime) -> SafeString:
        """`removed … from tenant 7 on instance 2 (run 12)`"""
        run = f"run {removal.run_id}"
        url = reverse("admin:syncs_syncrun_change", args=[removal.run_id])
        return format_html(
            "Removed {} from tenant {} on {} ({}).",
            markup.moment(removal.removed_at, now),
            removal.remote_tenant_id,
            instance_called(removal.remote_instance_id),
            _link(url, run) if self.runs else run,
        )

    def _support(self, tenant: int | None) -> Iterator[tuple[str, SafeString]]:
        """The way in, as a column that is there if any of what was found can be entered."""
        if self.enterable:
            url = reverse("admin:tenants_tenant_enter", args=[tenant]) if tenant else ""
            may = tenant in self.enterable
            yield "support", _link(url, "Enter as support") if may else markup.quiet("–")

    def _tenant(self, route: Route) -> SafeString | str:
        if route.tenant_pk is None:
            return markup.quiet(f"tenant {route.tenant_id}, not yet read")
        name = f"{route.tenant_name}"
        url = reverse("admin:tenants_tenant_change", args=[route.tenant_pk])
        status = str(route.tenant_status)
        state = markup.badge(status, STATUS_TONES.get(status, Tone.QUIET))
        gone = markup.badge("vanished", Tone.BAD) if route.tenant_vanished_at else ""
        return format_html("{} {} {}", _link(url, name) if self.tenants else name, state, gone)

    def _instance(self, route: Route) -> SafeString | str:
        if route.instance_pk is None:
            return markup.quiet(f"{instance_called(route.instance_id)}, not registered")
        name = f"instance {route.instance_pk} ({route.instance_name})"
        health = str(route.instance_health)
        state = mark(health, is_active=bool(route.instance_active))
        if not state and self.instances:
            state = markup.badge(health, HEALTH_TONES[health])
        return format_html("{} {}", self._place(route.instance_pk, name), state)

    def _marked(self, instance: RdsInstance) -> SafeString:
        state = mark(instance.health, is_active=instance.is_active)
        return format_html("{} {}", self._place(instance.pk, str(instance)), state)

    def _place(self, pk: int, name: str) -> SafeString | str:
        url = reverse("admin:tenants_rdsinstance_change", args=[pk])
        return _link(url, name) if self.instances else name


def _tenants_of(found: Found) -> Iterator[int]:
    """The tenants of all that is shown."""
    exact = found.exact
    routes = (*exact.shown, *exact.withheld)
    routes += (*found.begin.rows, *found.named.rows, *found.near.rows)
    yield from (route.tenant_pk for route in routes if route.tenant_pk is not None)
    yield from (tenant.pk for tenant in found.tenants.rows)


def kinds(
    found: Found, viewer: Viewer, conditions: Iterable[Condition], now: datetime
) -> list[ResultGroup]:
    """What else the term may mean, as far as the viewer may see it.

    conditions: of the instances that are found, at least.
    """
    there = {one.pk: one for one in conditions}

    def tenant(row: Tenant) -> Cells:
        return viewer.tenant(row, now)

    def instance(row: RdsInstance) -> Cells:
        return viewer.instance(row, there[row.pk], now)

    made = [
        _kind("begin", "E-mails that begin so", found.begin, viewer.like_it),
        _kind("named", "People with such a name", found.named, viewer.like_it),
        _kind("near", "Parts of words and near misses", found.near, viewer.like_it),
    ]
    if viewer.tenants:
        made.append(_kind("tenants", "Tenants", found.tenants, tenant))
    if viewer.instances:
        made.append(_kind("instances", "Instances", found.instances, instance))
    return [kind for kind in made if kind.rows]


def _kind(key: str, title: str, found: Matches[T], shown: Callable[[T], Cells]) -> ResultGroup:
    return ResultGroup(key, title, tuple(map(shown, found.rows)), found.more)


def _person(route: Route) -> Iterator[tuple[str, Any]]:
    yield "user", route.user_name or markup.quiet("name unknown")
    yield "user's id", markup.copyable(route.user_id)
    status = route.status
    active = bool(status) and str(status).lower() == "active"
    tone = Tone.GOOD if active else Tone.QUIET
    yield "status", markup.badge(status, tone) if status else markup.quiet("unknown")


def _link(url: str, label: str) -> SafeString:
    return format_html('<a class="link" href="{}">{}</a>', url, label)
