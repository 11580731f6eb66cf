"""A support session's page: its course and what the application reported, and the button to end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity.log import record
from common import markup
from common.model_admin import post_only
from tenants.admin.instance.condition import Notice, notices_of
from tenants.admin.support import badges
from tenants.models import ApplicationEvent, RdsInstance, SupportSession, Tenant
from tenants.support_access import contact_mail, sessions

END = "tenants.end_supportsession"
MOST_EVENTS = 500


def context(request: HttpRequest, row: SupportSession) -> dict[str, Any]:
    now = timezone.now()
    events = ApplicationEvent.objects.filter(session=row.jti, instance_id=row.instance_id)
    found = list(events[: MOST_EVENTS + 1])
    return {
        "notices": _notices(request, row, now),
        "state": badges.state_badge(row),
        "warning": badges.warning_badge(row),
        "facts": list(_facts(request, row)),
        "course": [(markup.moment(at, now), text) for at, text in sorted(_course(row))],
        "events": [(markup.moment(event.at, now), event) for event in found[:MOST_EVENTS]],
        "has_more": len(found) > MOST_EVENTS,
        "may_end": row.closed_at is None and may_end(request, row),
        "is_ending": row.closed_at is None and row.end_requested_at is not None,
    }


def _notices(request: HttpRequest, row: SupportSession, now: datetime) -> list[Notice]:
    """That its instance can't be read now: the session may have ended there meanwhile."""
    there = RdsInstance.objects.filter(pk=row.instance_id).defer("password", "ssl_ca")
    return notices_of(request, there, now)


def may_end(request: HttpRequest, row: SupportSession) -> bool:
    """Whoever opened it, and those with the permission."""
    return row.person_id == request.user.pk or request.user.has_perm(END)


@post_only
def end_view(request: HttpRequest, pk: Any, **_: Any) -> HttpResponse:
    row = get_object_or_404(SupportSession, pk=pk)
    if not may_end(request, row):
        raise PermissionDenied
    if row.closed_at is None and row.end_requested_at is None:
        with transaction.atomic():
            record(request, "support_session.ended", row)
            sessions.end_all([row], request.user.get_username())
    row = sessions.end(row, request.user.get_username())
    if row.closed_at is not None:
        messages.success(request, f"The session is over: {row.ended_by}.")
    else:
        messages.warning(
            request, f"{row.instance} does not answer: RAINBO tries again until it does."
        )
    return HttpResponseRedirect(reverse("admin:tenants_supportsession_change", args=[row.pk]))


def _facts(request: HttpRequest, row: SupportSession) -> Iterator[tuple[str, Any]]:
    yield "who", f"{row.person} ({row.person_id})"
    yield "from", row.address or markup.quiet("unknown")
    yield "instance", row.instance
    yield "tenant", _tenant(request, row)
    yield "ghost user there", row.ghost_id
    yield "reason", row.reason
    if not row.is_forged:  # what its assertion said is not known
        yield "ticket", row.ticket or markup.quiet("none")
        yield "may", "read only" if row.read_only else "read and change"
        yield "for at most", f"{row.session_seconds // 60} min"
    if row.mail and row.mail != contact_mail.OFF:
        yield "mail to the tenant's contact", row.mail
    yield "requests", markup.number(row.requests)
    yield "blocked requests", markup.number(row.blocked)
    yield "refused attempts", markup.number(row.refused)


def _tenant(request: HttpRequest, row: SupportSession) -> SafeString:
    found = Tenant.objects.filter(instance=row.instance_id, remote_id=row.tenant_id).first()
    if found is None or not request.user.has_perm("tenants.view_tenant"):
        return format_html("{}", row.tenant)
    url = reverse("admin:tenants_tenant_change", args=[found.pk])
    return format_html('<a class="link" href="{}">{}</a>', url, row.tenant)


def _course(row: SupportSession) -> Iterator[tuple[datetime, str]]:
    known = (
        (
            None if row.is_forged else row.issued_at,
            f"issued to {row.person}, to be redeemed within a minute",
        ),
        (row.redeemed_at, "redeemed by the application"),
        (row.active_at, "last request"),
        (row.refused_at, f"last of {row.refused:,} further attempts to redeem it, refused"),
        (row.end_requested_at, f"end requested: {row.end_requested_by}"),
        (row.ended_at, f"ended by {row.ended_by}"),
    )
    yield from ((at, text) for at, text in known if at is not None)
