"""How pages show levels and states of incidents and channels."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from alerts.channels import registry
from alerts.models import Channel, Delivery, Incident, Level, Mute
from common.markup import Tone, badge
from common.text import format_clock

LEVEL_TONES: Mapping[int, Tone] = {
    Level.URGENT: Tone.BAD,
    Level.WARNING: Tone.WARNING,
    Level.NOTICE: Tone.QUIET,
}


def level_badge(level: int) -> SafeString:
    return badge(Level(level).label, LEVEL_TONES[level])


def state_badges(incident: Incident, mute: Mute | None, now: datetime) -> SafeString:
    """Whether it is open, and who has done what about it."""
    if incident.let_go:
        return badge("no longer reported", Tone.QUIET, "its rule was switched off or changed")
    if incident.resolved_at:
        return badge("resolved", Tone.GOOD)
    shown = [badge("open", Tone.BUSY)]
    if incident.gone_since:
        shown = [badge("recovering", Tone.BUSY, "it came back before; resolved after 15 min")]
    if mute:
        shown.append(badge("muted", Tone.QUIET, f"{mute.reason} ({mute.by})"))
    if incident.is_acknowledged(now):
        shown.append(badge("acknowledged", Tone.GOOD, f"by {incident.acknowledged_by}"))
    if incident.cause_id:
        shown.append(badge("explained", Tone.QUIET, str(incident.cause)))
    return format_html_join(" ", "{}", ((one,) for one in shown))


def channel_badge(channel: Channel, now: datetime) -> SafeString:
    if not channel.enabled:
        return badge("disabled", Tone.QUIET)
    if what := registry.KINDS[channel.kind].missing():
        return format_html("{} {}", badge("not installed", Tone.BAD), what)
    if channel.gone_at:
        return badge("gone", Tone.BAD, channel.last_error)
    if channel.failing_since:
        since = format_clock(channel.failing_since, now)
        return badge("failing", Tone.BAD, f"since {since}: {channel.last_error}")
    return badge("working", Tone.GOOD) if channel.last_sent_at else badge("not used", Tone.QUIET)


def delivery_state(row: Delivery, now: datetime) -> SafeString:
    """The result of a message, and why."""
    if row.sent_at:
        return badge("sent", Tone.GOOD, format_clock(row.sent_at, now))
    if row.given_up_at:
        if not row.error:
            return badge("muted", Tone.QUIET, "all that it was about was muted before it was sent")
        return format_html("{} {}", badge("not taken", Tone.BAD), row.error)
    if row.error:
        return format_html("{} {}", badge("waiting", Tone.WARNING), row.error)
    return badge("waiting", Tone.BUSY)
