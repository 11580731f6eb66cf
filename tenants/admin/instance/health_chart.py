"""The last 24 hours of an instance as bars, a line and text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.charts import broken_lines
from common.markup import Tone
from common.text import counted, share
from tenants.health.history import BUCKET, HealthBucket, History, Outage
from tenants.models.instance import Health

HEALTH_TONES: dict[str, Tone] = {
    Health.HEALTHY: Tone.GOOD,
    Health.DEGRADED: Tone.WARNING,
    Health.REFUSED: Tone.BAD,
    Health.DOWN: Tone.BAD,
    Health.UNKNOWN: Tone.QUIET,
}
NAMED_DAYS = timedelta(days=6)
HEIGHTS = {
    Health.HEALTHY: 12,
    Health.DEGRADED: 22,
    Health.REFUSED: 27,
    Health.DOWN: 32,
    Health.UNKNOWN: 4,
}


@dataclass(frozen=True)
class ChartBar:
    """One bar: its place and height say the same as its colour."""

    x: int
    y: int
    height: int
    tone: Tone
    title: str


@dataclass(frozen=True)
class HealthChart:
    columns: tuple[ChartBar, ...]
    summary: str
    legend: tuple[tuple[SafeString, str], ...]
    latency: str
    lines: tuple[str, ...]
    from_to: tuple[str, str]


def of(history: History, now: datetime) -> HealthChart:
    begin, last = history.bars[0].begin, history.bars[-1].begin
    return HealthChart(
        columns=tuple(_column(n, bar) for n, bar in enumerate(history.bars)),
        summary=summary(history, now),
        legend=_legend(history),
        latency=_latency(history),
        lines=broken_lines([bar.median_ms for bar in history.bars]),
        from_to=(_clock(begin, now), f"{_clock(last + BUCKET, now)} {_zone(now)}"),
    )


def summary(history: History, now: datetime) -> str:
    """`24 h: 1,431 checks, 99.6 % healthy, down 02:10–02:16 UTC`."""
    whole = history.whole
    if not whole.checks:
        return "24 h: no check, so nothing is known of its health."
    parts = [
        f"24 h: {counted(whole.checks, 'check')}",
        f"{share(whole.healthy, whole.checks)} healthy",
    ]
    if whole.degraded:
        parts.append(f"{whole.degraded:,} degraded")
    if whole.refused:
        parts.append(f"RAINBO's login refused by {whole.refused:,}")
    if history.outages:
        parts.append(f"{_outages(history, now)} {_zone(now)}")
    if history.unseen:
        parts.append(f"no check in {history.unseen} of {len(history.bars)} quarter-hours")
    return ", ".join(parts)


def milliseconds(value: float | None) -> SafeString:
    if value is None:
        return markup.quiet("unknown")
    return format_html('<span class="number">{}</span>', in_ms(value))


def in_ms(value: float) -> str:
    return f"{value:,.2f} ms" if value < 10 else f"{value:,.0f} ms"


def _column(place: int, bar: HealthBucket) -> ChartBar:
    worst = bar.tally.worst
    local = timezone.localtime(bar.begin)
    seen = counted(bar.tally.checks, "check") if bar.tally.checks else "no check"
    said = f"{worst}, {seen}" if bar.tally.checks else seen
    title = f"{local:%H:%M}–{local + BUCKET:%H:%M}: {said}"
    height = HEIGHTS[worst]
    return ChartBar(place, 32 - height, height, HEALTH_TONES[worst], title)


def _legend(history: History) -> tuple[tuple[SafeString, str], ...]:
    """How many bars are of which kind."""
    worst = [bar.tally.worst for bar in history.bars]
    named = {Health.UNKNOWN: "no check"}
    return tuple(
        (markup.badge(named.get(health, health), HEALTH_TONES[health]), str(worst.count(health)))
        for health in HEIGHTS
        if health in worst
    )


def _latency(history: History) -> str:
    if history.median_ms is None or history.p95_ms is None:
        return "Latency of the last 24 h: unknown."
    median, p95 = in_ms(history.median_ms), in_ms(history.p95_ms)
    return f"Latency of the last 24 h: median {median}, 95 % of checks within {p95}."


def _outages(history: History, now: datetime) -> str:
    spans = [_span(outage, now) for outage in reversed(history.outages)]
    more = history.outage_count - len(spans)
    return f"down {', '.join(spans)}" + (f" and {more} times before" if more else "")


def _span(outage: Outage, now: datetime) -> str:
    begin = _clock(outage.begin, now)
    return f"{begin}–{_clock(outage.until, now)}" if outage.until else f"since {begin}"


def _clock(at: datetime, now: datetime) -> str:
    """The time of day; with the day's name unless it is today, with its date if long ago."""
    local = timezone.localtime(at)
    if now - at > NAMED_DAYS:
        return f"{local:%Y-%m-%d %H:%M}"
    same = local.date() == timezone.localtime(now).date()
    return f"{local:%H:%M}" if same else f"{local:%a %H:%M}"


def _zone(now: datetime) -> str:
    return f"{timezone.localtime(now):%Z}"
