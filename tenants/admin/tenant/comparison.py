"""What is cached of a tenant compared with its instance now, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString

from common import markup
from common.markup import Tone
from tenants.admin.tenant.badges import STATUS_TONES
from tenants.models import Tenant
from tenants.summaries.live_tenant import LiveTenant
from tenants.summaries.merge import COLUMNS

LABELS = {
    "name": "name",
    "status": "status",
    "contact_name": "contact",
    "contact_email": "contact e-mail",
    "trial_ends_at": "trial ends",
    "subscription_started_at": "subscribed since",
    "user_count": "active users",
    "location_count": "locations",
    "last_activity_at": "last activity",
}
MISSING = {"trial_ends_at": "no trial", "subscription_started_at": "no subscription"}


@dataclass(frozen=True)
class Field:
    """live and result: None unless the instance answered with the tenant."""

    label: str
    cached: SafeString
    live: SafeString | None = None
    result: SafeString | None = None


@dataclass(frozen=True)
class LiveComparison:
    """The result of reading the instance live, at a glance."""

    state: SafeString
    text: str
    at: SafeString
    has_fields: bool


def fields(tenant: Tenant, live: LiveTenant | None, now: datetime) -> list[Field]:
    row = live.row if live else None
    differ = live.differences(tenant) if live else []
    return [
        Field(
            LABELS[name],
            _shown(name, getattr(tenant, name), now),
            _shown(name, row[name], now) if row else None,
            _verdict(name, row[name], differs=name in differ) if row else None,
        )
        for name in COLUMNS
    ]


def answer(tenant: Tenant, live: LiveTenant, now: datetime) -> LiveComparison:
    state, text = _judged(tenant, live)
    return LiveComparison(state, text, markup.moment(live.at, now), live.row is not None)


def _judged(tenant: Tenant, live: LiveTenant) -> tuple[SafeString, str]:
    there = str(tenant.instance)
    if live.error:
        return markup.badge("no answer", Tone.BAD), live.error
    if live.row is None:
        gone = f"{there} has no tenant {tenant.remote_id} now"
        if tenant.vanished_at:
            return markup.badge("gone there", Tone.QUIET), f"{gone}, as the cache has it."
        text = f"{gone}: the next sync marks it as vanished."
        return markup.badge("gone there", Tone.BAD), text
    if tenant.vanished_at:
        text = f"{there} has it again: the next sync brings it back."
        return markup.badge("back there", Tone.WARNING), text
    count = len(live.differences(tenant))
    if count:
        verb = "differs" if count == 1 else "differ"
        text = f"{count} of {len(COLUMNS)} fields {verb}: the next sync brings what is there."
        return markup.badge("differs", Tone.WARNING), text
    return markup.badge("same", Tone.GOOD), f"All {len(COLUMNS)} fields are as they are there."


def _verdict(name: str, live: Any, *, differs: bool) -> SafeString:
    if live is None and not differs and name not in MISSING:
        return markup.quiet("unknown")
    return markup.badge("differs", Tone.WARNING) if differs else markup.badge("same", Tone.GOOD)


def _shown(name: str, value: Any, now: datetime) -> SafeString:
    if value is None:
        return markup.quiet(MISSING.get(name, "unknown"))
    if name == "status":
        return markup.badge(value, STATUS_TONES.get(value, Tone.QUIET))
    if isinstance(value, datetime):
        return markup.moment(value, now)
    if isinstance(value, int):
        return markup.number(value)
    return markup.brief(value, 200) if value else markup.quiet("empty")
