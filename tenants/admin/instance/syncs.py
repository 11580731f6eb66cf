"""What the list of instances shows of each: how fresh every sync has it, and its tenants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from common import markup
from common.markup import Tone
from syncs.admin.badges import FRESHNESS_TONES
from syncs.models import Confirmation
from syncs.status import queries
from syncs.status.queries import TargetStatus

SUMMARIES = "tenant_summaries"
HEALTH = "instance_health"  # has columns of its own
SHORT = {
    "tenant_summaries": "tenants",
    "user_routing": "routes",
    "ghost_users": "ghosts",
}


def complete(rows: Sequence[Any]) -> None:
    """Give each instance the statuses of its syncs, and the tenants that were last read there."""
    found: dict[str, dict[str, TargetStatus]] = {}
    if rows:
        for sync in queries.shared_status().syncs:
            for target in sync.targets:
                found.setdefault(target.key, {})[sync.name] = target
    keys = [str(row.pk) for row in rows]
    confirmed = Confirmation.objects.filter(sync=SUMMARIES, target__in=keys)
    tenants = dict(confirmed.values_list("target", "rows"))
    for row in rows:
        row.statuses = found.get(str(row.pk), {})
        row.tenant_count = tenants.get(str(row.pk))


def in_line(statuses: Mapping[str, TargetStatus]) -> SafeString:
    """Each sync with the age of its confirmation; what isn't on time has its state in a word."""
    if not statuses:
        return markup.quiet("not synced: disabled")
    now = timezone.now()
    lines = [
        (SHORT.get(name, name), markup.age(target.confirmed_at, now), _unless_on_time(target))
        for name, target in statuses.items()
        if name != HEALTH
    ]
    shown = format_html_join("", "<li><span>{}</span> {} {}</li>", lines)
    return format_html('<ul class="sync-ages">{}</ul>', shown)


def _unless_on_time(target: TargetStatus) -> SafeString | str:
    state = target.freshness.state
    tone = FRESHNESS_TONES[state]
    if tone is Tone.GOOD:
        return ""
    return markup.badge(state.label, tone, target.reason.words if target.reason else "")
