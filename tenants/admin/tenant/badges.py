"""How a tenant's status and freshness look, in the list and on its page."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.markup import Tone
from syncs.admin import badges
from syncs.status.queries import TargetStatus
from tenants.models import Tenant
from tenants.models.tenant import TenantStatus

STATUS_TONES: dict[str, Tone] = {
    TenantStatus.ACTIVE: Tone.GOOD,
    TenantStatus.TRIAL: Tone.BUSY,
    TenantStatus.SUSPENDED: Tone.WARNING,
    TenantStatus.CANCELLED: Tone.QUIET,
}


def status_badge(tenant: Tenant) -> SafeString:
    known = markup.badge(tenant.status, STATUS_TONES.get(tenant.status, Tone.QUIET))
    if tenant.vanished_at is None:
        return known
    since = f"its source has no longer had it since {markup.exact(tenant.vanished_at)}"
    return format_html("{} {}", known, markup.badge("vanished", Tone.BAD, since))


def summary_freshness(target: TargetStatus | None) -> SafeString:
    """None: no sync takes its instance."""
    if target is None:
        return markup.badge("not synced", Tone.QUIET, "its instance is disabled")
    return badges.freshness_badge(target)
