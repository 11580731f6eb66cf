"""Who can enter which instance: all admins by all instances, in a fixed number of queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import manage_command, markup
from common.text import counted
from tenants.admin.ghost.badges import (
    Counted,
    counts_in_line,
    coverage_badge,
    coverage_counts,
    down_badge,
)
from tenants.ghosts import coverage, owed, run_log
from tenants.ghosts.coverage import Coverage, CoverageCounts
from tenants.models import GhostUser, RdsInstance

FULL = 12  # instances of which every cell is shown
ADMINS_PER_PAGE = 50
NAMED = 3  # unhealthy rows of an admin that are named
INSTANCES_NAMED = 24


@dataclass(frozen=True)
class Person:
    """One admin. cells: of every instance, where there are few. wrong: what is unhealthy.

    instances: how many a sync of the admin's ghost users goes to.
    """

    id: int
    name: str
    wanted: bool
    counts: SafeString
    seen: SafeString
    cells: tuple[tuple[str, SafeString], ...]
    wrong: tuple[SafeString, ...]
    more_wrong: int
    instances: int
    url: str


@dataclass(frozen=True)
class Place:
    """One instance. admins: how many a sync of it gives a ghost user; may_sync: it takes one."""

    instance: RdsInstance
    health: SafeString | str
    counts: SafeString
    seen: SafeString
    admins: int
    may_sync: bool
    url: str


@dataclass(frozen=True)
class Matrix:
    instances: tuple[RdsInstance, ...]
    columns: tuple[SafeString, ...]
    is_full: bool
    people: tuple[Person, ...]
    page: Page[Any]
    places: tuple[Place, ...]
    more_places: int
    legend: list[Counted]
    term: str
    summary: str
    commands: tuple[tuple[str, str], ...]


def read(term: str, number: str | None) -> Matrix:
    """term: a part of a name, or the id, of the admins to show; number: of their page."""
    wanted = coverage.wanted_ids()
    instances = tuple(
        RdsInstance.objects.only("name", "health", "is_active", "is_master", "has_ghosts").order_by(
            "pk"
        )
    )
    tallies = coverage.by_admin(wanted, instances)
    names = run_log.find_usernames(tallies)
    order = sorted(tallies, key=lambda pk: (-tallies[pk].problems, names.get(pk, "~"), pk))
    page = Paginator(_matching(order, names, term), ADMINS_PER_PAGE).get_page(number)
    here = coverage.by_instance(wanted, instances)
    places = _places(instances, here, wanted)
    return Matrix(
        instances=instances,
        columns=tuple(format_html("{} {} {}", i.pk, i.name, down_badge(i)) for i in instances),
        is_full=len(instances) <= FULL,
        people=_people(list(page), names, tallies, wanted, instances),
        page=page,
        places=places[: FULL if len(instances) <= FULL else INSTANCES_NAMED],
        more_places=max(0, len(places) - INSTANCES_NAMED),
        legend=coverage_counts(_whole(tallies.values())),
        term=term,
        summary=_summary(wanted, instances, tallies),
        commands=(
            ("one admin", manage_command.line("sync_ghost_users --admin ID")),
            ("one instance", manage_command.line("sync_ghost_users --rds ID")),
            ("all", manage_command.line("sync_ghost_users")),
        ),
    )


def _people(
    shown: Sequence[int],
    names: Mapping[int, str],
    tallies: Mapping[int, CoverageCounts],
    wanted: Collection[int],
    instances: Sequence[RdsInstance],
) -> tuple[Person, ...]:
    now = timezone.now()
    is_full = len(instances) <= FULL
    rows = coverage.cells(shown, instances) if is_full else {}
    wrong: dict[int, list[GhostUser]] = {}
    for row in [] if is_full else coverage.find_problems(shown, wanted, NAMED):
        wrong.setdefault(row.admin_id, []).append(row)
    in_use = sum(instance.keeps_ghosts for instance in instances)
    return tuple(
        Person(
            id=pk,
            name=names.get(pk, "deleted user"),
            wanted=pk in wanted,
            counts=counts_in_line(tallies[pk]),
            seen=markup.age(tallies[pk].seen, now, missing="never seen"),
            cells=tuple(
                (
                    f"{i}, {i.health}" if i.is_down else str(i),
                    _cell(rows.get((pk, i.pk)), i, now, wanted=pk in wanted),
                )
                for i in instances
                if is_full
            ),
            wrong=tuple(_wrong(row, wanted=pk in wanted) for row in wrong.get(pk, [])),
            more_wrong=max(0, tallies[pk].problems - NAMED),
            instances=in_use + tallies[pk].left_behind,
            url=reverse("admin:tenants_ghostuser_all", query={"q": pk}),
        )
        for pk in shown
    )


def _cell(row: GhostUser | None, at: RdsInstance, now: datetime, *, wanted: bool) -> SafeString:
    confirmed = row.confirmed if row else None
    if row is None and not wanted:
        return markup.quiet("never had one")
    shown = coverage_badge(coverage.judge(confirmed, wanted=wanted, kept=at.keeps_ghosts))
    if row is None:
        return shown
    url = reverse("admin:tenants_ghostuser_change", args=[row.pk])
    seen = markup.age(row.confirmed_at, now, missing="never seen")
    return format_html('<a class="cell" href="{}">{} {}</a>', url, shown, seen)


def _wrong(row: GhostUser, *, wanted: bool) -> SafeString:
    url = reverse("admin:tenants_ghostuser_change", args=[row.pk])
    state = coverage_badge(
        coverage.judge(row.confirmed, wanted=wanted, kept=row.instance.keeps_ghosts)
    )
    name = f"{row.instance_id} {row.instance.name}"
    return format_html('<a class="link" href="{}">{}</a> {}', url, name, state)


def _places(
    instances: Sequence[RdsInstance], tallies: Mapping[int, CoverageCounts], wanted: Collection[int]
) -> tuple[Place, ...]:
    """Return all of a few instances; of many those that are unhealthy or down, the worst first."""
    now = timezone.now()
    chosen = [i for i in instances if len(instances) <= FULL or tallies[i.pk].problems or i.is_down]
    if len(instances) > FULL:
        chosen.sort(key=lambda instance: -tallies[instance.pk].problems)
    leaving = {instance.pk for instance in owed.instances_without(wanted)}
    return tuple(
        Place(
            instance=instance,
            health=down_badge(instance),
            counts=counts_in_line(tallies[instance.pk]),
            seen=markup.age(tallies[instance.pk].seen, now, missing="never seen"),
            admins=tallies[instance.pk].counts.total(),
            may_sync=instance.keeps_ghosts or instance.pk in leaving,
            url=reverse("admin:tenants_ghostuser_all", query=_of_instance(instance)),
        )
        for instance in chosen
    )


def _of_instance(instance: RdsInstance) -> dict[str, int]:
    return {"instance__id__exact": instance.pk}


def _matching(admins: Sequence[int], names: Mapping[int, str], term: str) -> list[int]:
    wanted = term.strip().casefold()
    return [pk for pk in admins if wanted in names.get(pk, "").casefold() or wanted == str(pk)]


def _whole(tallies: Collection[CoverageCounts]) -> CoverageCounts:
    return CoverageCounts(sum((tally.counts for tally in tallies), Counter[Coverage]()))


def _summary(
    wanted: Collection[int], instances: Sequence[RdsInstance], tallies: Mapping[int, CoverageCounts]
) -> str:
    """Return the overall status in a sentence."""
    in_use = sum(instance.keeps_ghosts for instance in instances)
    whole = _whole(tallies.values())
    should = f"{counted(len(wanted), 'admin')} should enter {counted(in_use, 'active instance')}"
    known = _known(sum(instance.is_down and instance.keeps_ghosts for instance in instances))
    if orphans := whole.counts[Coverage.ORPHAN]:
        return f"{should}. {counted(orphans, 'ghost user')} of others can still enter{known}."
    if whole.problems:
        wrong = "needs attention" if whole.problems == 1 else "need attention"
        return f"{should}. {counted(whole.problems, 'ghost user')} {wrong}{known}."
    if waiting := whole.counts[Coverage.WANTED]:
        wait = "waits for its" if waiting == 1 else "wait for their"
        return f"{should}. {counted(waiting, 'ghost user')} {wait} first sync{known}."
    return f"{should}, and nobody else can{known}." if wanted else "Nobody may enter any instance."


def _known(down: int) -> str:
    """What limits the overall status: nothing new is known of instances that are down."""
    be = "is" if down == 1 else "are"
    return f", as far as is known: {counted(down, 'instance')} {be} down" if down else ""
