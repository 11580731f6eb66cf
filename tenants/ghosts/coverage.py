"""Ghost coverage: the wanted state of each ghost user, compared with the known one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db.models import Case, Count, Min, Q, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber

from tenants.ghosts import policy
from tenants.models import GhostUser, RdsInstance
from tenants.models.ghost import GONE, GhostState


class Coverage(StrEnum):
    """The state of one admin's ghost user on one instance."""

    CONFIRMED = "confirmed"
    WANTED = "wanted"
    MISSING = "missing"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    ORPHAN = "orphan"
    GONE = "gone"
    UNUSED = "none kept"

    @property
    def is_problem(self) -> bool:
        return self in PROBLEMS


PROBLEMS = (Coverage.ORPHAN, Coverage.REFUSED, Coverage.MISSING, Coverage.UNKNOWN)
MEANINGS = {
    Coverage.CONFIRMED: "may enter, and the instance confirmed it",
    Coverage.WANTED: "should enter; no sync has tried yet",
    Coverage.MISSING: "should enter, and the instance has no active ghost user",
    Coverage.REFUSED: "should enter; another account there is in the way",
    Coverage.UNKNOWN: "the last sync could not find out",
    Coverage.ORPHAN: "should no longer enter, and still can",
    Coverage.GONE: "should not enter, and cannot",
    Coverage.UNUSED: "the instance is disabled or keeps no ghost users, by its settings",
}


@dataclass
class CoverageCounts:
    """The number of ghost users in each state, of one admin or one instance.

    seen: when the oldest of them was last seen. left_behind: how many of a leaver's are not known
    to be gone from instances that keep none; syncs visit these for them.
    """

    counts: Counter[Coverage] = field(default_factory=Counter)
    seen: datetime | None = None
    left_behind: int = 0

    def add(self, coverage: Coverage, count: int, seen: datetime | None) -> None:
        self.counts[coverage] += count
        self.seen = min(filter(None, (self.seen, seen)), default=None)

    @property
    def problems(self) -> int:
        return sum(self.counts[coverage] for coverage in PROBLEMS)


def judge(confirmed: str | None, *, wanted: bool, kept: bool) -> Coverage:
    """Return the state of a ghost user.

    confirmed: the instance's last answer, None without a row. wanted: the admin may impersonate.
    kept: the instance keeps ghost users.
    """
    match confirmed:
        case GhostState.ACTIVE:
            return Coverage.CONFIRMED if wanted else Coverage.ORPHAN
        case GhostState.UNKNOWN:
            return Coverage.UNKNOWN
        case GhostState.REFUSED if wanted:
            return Coverage.REFUSED
    if not wanted:
        return Coverage.GONE
    if not kept:
        return Coverage.UNUSED
    return Coverage.WANTED if confirmed is None else Coverage.MISSING


def wanted_ids() -> frozenset[int]:
    return frozenset(policy.admins().values_list("pk", flat=True))


def by_admin(
    wanted: Collection[int], instances: Iterable[RdsInstance]
) -> dict[int, CoverageCounts]:
    """Count the states for every wanted or known admin, in one query."""
    keeping = {instance.pk for instance in instances if instance.keeps_ghosts}
    is_kept = Case(When(instance__in=keeping, then=Value(True)), default=Value(False))
    rows = GhostUser.objects.annotate(is_kept=is_kept)
    groups: Any = _grouped(rows, "admin_id", "is_kept", "confirmed")
    found: dict[int, CoverageCounts] = {pk: CoverageCounts() for pk in wanted}
    known: Counter[int] = Counter()
    for row in groups:
        pk, kept = row["admin_id"], row["is_kept"]
        coverage = judge(row["confirmed"], wanted=pk in wanted, kept=kept)
        found.setdefault(pk, CoverageCounts()).add(coverage, row["count"], row["seen"])
        known[pk] += row["count"] if kept else 0
        if not kept and pk not in wanted and row["confirmed"] not in GONE:
            found[pk].left_behind += row["count"]
    for pk in wanted:
        if left := len(keeping) - known[pk]:
            found[pk].add(Coverage.WANTED, left, None)
    return found


def by_instance(
    wanted: Collection[int], instances: Iterable[RdsInstance]
) -> dict[int, CoverageCounts]:
    """Count the states for each of these instances, in one query."""
    instances = list(instances)
    rows = GhostUser.objects.filter(instance__in=[instance.pk for instance in instances])
    is_wanted = Case(When(admin_id__in=[*wanted], then=Value(True)), default=Value(False))
    groups: Any = _grouped(rows.annotate(is_wanted=is_wanted), "instance", "is_wanted", "confirmed")
    kept = {instance.pk: instance.keeps_ghosts for instance in instances}
    found = {pk: CoverageCounts() for pk in kept}
    known: Counter[int] = Counter()
    for row in groups:
        pk, is_meant = row["instance"], row["is_wanted"]
        coverage = judge(row["confirmed"], wanted=is_meant, kept=kept[pk])
        found[pk].add(coverage, row["count"], row["seen"])
        known[pk] += row["count"] if is_meant else 0
    for pk, counts in found.items():
        if kept[pk] and (left := len(wanted) - known[pk]):
            counts.add(Coverage.WANTED, left, None)
    return found


def cells(
    admins: Collection[int], instances: Collection[RdsInstance]
) -> dict[tuple[int, int], Any]:
    """Return the rows of these admins on these instances, by admin and instance."""
    rows = GhostUser.objects.filter(admin_id__in=admins, instance__in=[i.pk for i in instances])
    return {(row.admin_id, row.instance_id): row for row in rows}


def find_problems(admins: Collection[int], wanted: Collection[int], each: int) -> list[GhostUser]:
    """Return rows that differ from the wanted state, at most `each` of an admin."""
    is_wanted, is_lost = Q(admin_id__in=[*wanted]), Q(confirmed__in=GONE)
    not_there = Q(confirmed=GhostState.REFUSED) | is_lost & policy.KEPT
    wrong = (
        Q(confirmed=GhostState.UNKNOWN)
        | is_wanted & not_there
        | ~is_wanted & Q(confirmed=GhostState.ACTIVE)
    )
    place = Window(RowNumber(), partition_by=["admin_id"], order_by=["instance_id"])
    rows = (
        GhostUser.objects.filter(wrong, admin_id__in=admins)
        .annotate(place=place)
        .filter(place__lte=each)
        .select_related("instance")
        .only(
            "admin_id",
            "confirmed",
            "last_error",
            "instance__name",
            "instance__is_active",
            "instance__has_ghosts",
        )
    )
    return list(rows.order_by("admin_id", "instance_id"))


def _grouped(rows: QuerySet[GhostUser], *keys: str) -> Any:
    return rows.order_by().values(*keys).annotate(count=Count("pk"), seen=Min("confirmed_at"))
