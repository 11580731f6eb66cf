"""How an instance is, next to what depends on it: as a badge, a mark, or a notice on top."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.markup import Tone
from common.text import sentence
from syncs.status import queries
from tenants.admin.instance.health_chart import HEALTH_TONES
from tenants.health import condition
from tenants.health.condition import Condition
from tenants.models import RdsInstance
from tenants.models.instance import Health

Notice = tuple[str, str]  # a sentence, and where to look; empty for whom may not see it


def badge(found: Condition, now: datetime) -> SafeString:
    """Its health with the age of the check; quiet where that says nothing of now."""
    if not found.is_active:
        return markup.badge("not active", Tone.QUIET)
    if found.checked_at is None:
        return markup.badge(Health.UNKNOWN, Tone.QUIET, "never checked")
    tone = Tone.QUIET if found.is_old else HEALTH_TONES[found.health]
    age = markup.age(found.checked_at, now)
    shown = markup.badge(found.health, tone)
    return format_html('{} <span class="quiet">checked {}</span>', shown, age)


def mark(health: str, *, is_active: bool) -> SafeString | str:
    """What is wrong with an instance, in a row of something that depends on it; else nothing."""
    if not is_active:
        return markup.badge("not active", Tone.QUIET)
    if health == Health.HEALTHY:
        return ""
    return markup.badge(health, HEALTH_TONES[health], "its last check")


def notices(request: HttpRequest, found: Iterable[Condition], now: datetime) -> list[Notice]:
    """A sentence for each of these instances that is not known to be up."""
    may_see = request.user.has_perm("tenants.view_rdsinstance")
    said = [(one.pk, one.notice(now)) for one in found]
    return [(sentence(text), _page(pk) if may_see else "") for pk, text in said if text]


def notices_of(
    request: HttpRequest, instances: Iterable[RdsInstance], now: datetime
) -> list[Notice]:
    """The same, of instances as they are stored."""
    checks = condition.checks_in(queries.shared_status().syncs)
    return notices(request, [condition.of(one, now, checks) for one in instances], now)


def _page(pk: int) -> str:
    return reverse("admin:tenants_rdsinstance_change", args=[pk])
