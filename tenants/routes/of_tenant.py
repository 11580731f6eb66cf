"""The users of a tenant, as the master's directory has them: page by page, from key to key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from tenants.models import Tenant, UserRoute

PER_PAGE = 25
COUNTED = 1_000  # more are said to be more
FORWARD, BACKWARD = ("email_key", "source_id"), ("-email_key", "-source_id")


@dataclass(frozen=True)
class Users:
    """One page. before, after: source ids that lead to the pages around it, empty without one.

    count: of all, up to a bound. lost: the requested place is gone, this is the first page.
    """

    rows: tuple[UserRoute, ...]
    before: str
    after: str
    count: int
    lost: bool = False

    @property
    def is_cut(self) -> bool:
        return self.count > COUNTED


def page(tenant: Tenant, after: str = "", before: str = "", size: int = PER_PAGE) -> Users:
    """The users behind the route `after`, or those just in front of the route `before`."""
    everyone = of_tenant(tenant)
    count = everyone.order_by()[: COUNTED + 1].count()
    mark = _place(everyone, before or after)
    if mark is None:
        rows = [*everyone.order_by(*FORWARD)[: size + 1]]
        shown, lost = rows[:size], bool(before or after)
        return _page(shown, count, has_before=False, has_after=len(rows) > size, lost=lost)
    if before:
        rows = [*everyone.filter(_beyond(mark, "lt")).order_by(*BACKWARD)[: size + 1]]
        shown = rows[:size][::-1]
        return _page(shown, count, has_before=len(rows) > size, has_after=True)
    rows = [*everyone.filter(_beyond(mark, "gt")).order_by(*FORWARD)[: size + 1]]
    return _page(rows[:size], count, has_before=True, has_after=len(rows) > size)


def of_tenant(tenant: Tenant) -> QuerySet[UserRoute]:
    return UserRoute.objects.filter(
        remote_instance_id=str(tenant.instance_id), remote_tenant_id=tenant.remote_id
    )


def _place(everyone: QuerySet[UserRoute], source_id: str) -> tuple[str, str] | None:
    if not source_id:
        return None
    known: Any = everyone.filter(pk=source_id.replace("\0", "")).values_list(*FORWARD)
    found: tuple[str, str] | None = known.first()
    return found


def _beyond(mark: tuple[str, str], way: str) -> Q:
    key, source_id = mark
    same = Q(email_key=key, **{f"source_id__{way}": source_id})
    return Q(**{f"email_key__{way}e": key}) & (Q(**{f"email_key__{way}": key}) | same)


def _page(
    rows: list[UserRoute], count: int, *, has_before: bool, has_after: bool, lost: bool = False
) -> Users:
    before = rows[0].pk if rows and has_before else ""
    after = rows[-1].pk if rows and has_after else ""
    return Users(tuple(rows), before, after, count, lost)
