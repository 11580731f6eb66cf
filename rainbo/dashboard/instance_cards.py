"""The cards of instances on the first page: health, latency, freshness, and what is held up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup, text
from common.charts import polylines, scaled
from common.markup import Tone
from syncs.admin.badges import FRESHNESS_TONES
from syncs.status.queries import Status
from tenants.admin.instance.health_chart import HEALTH_TONES
from tenants.health import condition, overview
from tenants.health.condition import Condition
from tenants.health.overview import Down, Fleet
from tenants.models import RdsInstance
from tenants.models.instance import Health

MOST_CARDS = 24  # shown as cards; a bigger fleet is a list that can be searched
LISTED = 50  # rows of that list: the worst first
MOST_UNHEALTHY = 6  # above the syncs; the others begin the list
UNHEALTHY = (Health.DOWN, Health.REFUSED, Health.DEGRADED)
WIDTH, HEIGHT = 120, 24  # of a trend, in its own units


@dataclass(frozen=True)
class Trend:
    """The latency of the last checks as a line with gaps.

    gaps: where it did not answer. lowest, highest: in milliseconds; empty if it never did.
    """

    lines: tuple[str, ...]
    gaps: tuple[float, ...]
    text: str
    lowest: str
    highest: str

    @property
    def marks(self) -> str:
        """The gaps as small bars: one path for all of them."""
        return "".join(f"M{x} 17h2v7h-2z" for x in self.gaps)


@dataclass(frozen=True)
class SyncAge:
    title: str
    state: SafeString
    age: SafeString


@dataclass(frozen=True)
class InstanceCard:
    pk: int
    name: str
    url: str
    health: SafeString
    role: str
    latency: SafeString
    trend: Trend | None
    checked: SafeString | str  # empty if that is said once for all
    syncs: tuple[SyncAge, ...]  # those that are not on time here
    tenants: SafeString
    holds_up: str
    error: str


@dataclass(frozen=True)
class Cards:
    """What is drawn of the fleet. text: which of how many they are.

    unhealthy: the worst of those that are known to be. checked: the oldest check of what is shown
    without one of its own.
    """

    unhealthy: tuple[InstanceCard, ...]
    more_unhealthy: int
    shown: tuple[InstanceCard, ...]
    total: int
    term: str
    text: str
    checked: SafeString | str

    @property
    def is_list(self) -> bool:
        return self.total > MOST_CARDS


def drawn(fleet: Fleet, status: Status | None, term: str, now: datetime) -> Cards:
    """In one more query. A fleet that fits is shown whole: there is nothing to search for."""
    total = len(fleet.instances)
    term = term.strip() if total > MOST_CARDS else ""
    unhealthy = [instance for instance in fleet.active if instance.health in UNHEALTHY]
    first = unhealthy[:MOST_UNHEALTHY]
    found = overview.chosen(fleet.instances, term) if term else list(fleet.instances)
    others = found if term else [instance for instance in found if instance not in first]
    rest = others[: LISTED if total > MOST_CARDS else MOST_CARDS]
    trends = overview.trends([*first, *rest])
    ages = _ages(status, {str(instance.pk) for instance in (*first, *rest)}, now)
    down = {one.pk: one for one in fleet.down}
    tenants = fleet.tenants or {}
    checks = condition.checks_in(status.syncs) if status else None

    there_is = {one.pk: condition.of(one, now, checks) for one in (*first, *rest)}

    def card(instance: RdsInstance) -> InstanceCard:
        there = there_is[instance.pk]
        return InstanceCard(
            pk=instance.pk,
            name=str(instance),
            url=reverse("admin:tenants_rdsinstance_change", args=[instance.pk]),
            health=_health(there),
            role="master" if instance.is_master else "",
            latency=_latency(instance),
            trend=trend(trends.get(instance.pk, [])),
            checked="" if _is_current(there) else _checked(instance, now),
            syncs=tuple(ages.get(str(instance.pk), ())),
            tenants=_tenants(tenants.get(instance.pk)),
            holds_up=_holds_up(down.get(instance.pk), fleet, now),
            error=instance.last_error if instance.is_active else "",
        )

    current = [there.checked_at for there in there_is.values() if _is_current(there)]
    return Cards(
        unhealthy=tuple(map(card, first)),
        more_unhealthy=len(unhealthy) - len(first),
        shown=tuple(map(card, rest)),
        total=total,
        term=term,
        text=_which(len(rest), len(others), len(first), fleet, term),
        checked=markup.age(min(at for at in current if at), now) if current else "",
    )


def _is_current(there: Condition) -> bool:
    """Whether its check is as new as the others, so that its age needs no saying of its own."""
    return there.is_active and there.checked_at is not None and not there.is_old


def _tenants(count: int | None) -> SafeString:
    if count is None:
        return markup.quiet("tenants unknown")
    return markup.measured(text.counted(count, "tenant"))


def _ages(status: Status | None, keys: set[str], now: datetime) -> dict[str, list[SyncAge]]:
    """Of each of these instances, the syncs that are not on time there."""
    found: dict[str, list[SyncAge]] = {}
    for sync in status.syncs if status else ():
        if sync.name == condition.HEALTH:  # said by the card itself: fresh checks are no health
            continue
        for target in sync.targets:
            if target.key not in keys or not target.freshness.state.is_bad:
                continue
            state = target.freshness.state
            why = text.in_viewer_zone(str(target.reason or ""), now)
            badge = markup.badge(state.label, FRESHNESS_TONES[state], why)
            age = SyncAge(sync.title, badge, markup.age(target.confirmed_at, now))
            found.setdefault(target.key, []).append(age)
    return found


def _health(found: Condition) -> SafeString:
    """Quiet where the last check is too old to say how it is now."""
    if not found.is_active:
        return markup.badge("inactive", Tone.QUIET)
    tone = Tone.QUIET if found.is_old else HEALTH_TONES[found.health]
    return markup.badge(found.health, tone)


def _checked(instance: RdsInstance, now: datetime) -> SafeString | str:
    if instance.last_check_at is None:
        return "never checked"
    when = markup.age(instance.last_check_at, now)
    return format_html("{} {}", "checked" if instance.is_active else "last checked", when)


def _latency(instance: RdsInstance) -> SafeString:
    if not instance.is_active:
        return markup.quiet("not checked while inactive")
    if instance.latency_ms is None:
        return markup.quiet("latency unknown")
    return format_html('<span class="number">{} ms</span>', f"{instance.latency_ms:,.2f}")


def trend(latencies: Sequence[float | None]) -> Trend | None:
    """None without any check."""
    known = [ms for ms in latencies if ms is not None]
    if not latencies:
        return None
    unanswered = len(latencies) - len(known)
    missed = f"; {unanswered} without an answer" if unanswered else ""
    span = (
        f"{min(known):,.2f} to {max(known):,.2f} ms, median {median(known):,.2f}" if known else ""
    )
    label = f"Latency of the last {text.counted(len(latencies), 'check')}: {span or 'none'}{missed}"
    step = WIDTH / max(1, overview.CHECKS - 1)
    start = WIDTH - step * (len(latencies) - 1)
    top = max(known, default=1.0) or 1.0
    points = [
        (start + n * step, None if ms is None else scaled(ms, top, HEIGHT))
        for n, ms in enumerate(latencies)
    ]
    gaps = tuple(round(x, 1) for x, y in points if y is None)
    ends = (f"{end:,.2f}" for end in (min(known), max(known))) if known else ("", "")
    return Trend(polylines(points), gaps, label, *ends)


def _holds_up(down: Down | None, fleet: Fleet, now: datetime) -> str:
    """`Since 12:40 UTC 14 tenants and 3,120 routes wait for it.`"""
    if down is None:
        return ""
    held = down.waiting.in_words(fleet.all_routes if down.is_master else None)
    since = f"{text.since(down.since, now).strip()} " if down.since else ""
    return text.sentence(f"{since}{held} for it")


def _which(shown: int, found: int, above: int, fleet: Fleet, term: str) -> str:
    """`50 of 200 instances, the worst first.` above: how many are shown above the syncs."""
    total = len(fleet.instances)
    if term and not found:
        return f"None of {total:,} instances has “{term}” in its name, or as its id."
    well = sum(i.health == Health.HEALTHY for i in fleet.active)
    healthy = "" if term else f"{well:,} of {len(fleet.active):,} active ones are healthy."
    if shown == found and not term:
        return healthy
    noun = "instance" if found == 1 else "instances"
    if term:
        match = f"found by “{term}”"
        of = f"{shown:,} of {found:,}" if shown < found else f"{found:,}"
        return f"{of} {noun} {match}{', the worst first' if found > 1 else ''}."
    others = "other " if above else ""
    return f"{shown:,} of {found:,} {others}{noun}, the worst first. {healthy}"
