"""The buttons of a connection's page: by POST, with permission, recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters

from activity.log import record
from common.errors import RainboError, UsageError
from common.model_admin import post_only
from integrations import access, disconnecting, registration
from integrations.models import Connection
from syncs.admin.run_requests import request_run
from syncs.engine.options import Options

PAUSES = {"1": "an hour", "24": "a day", "168": "a week", "720": "30 days"}  # by hours


@post_only
def fetch_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Request a run of this connection alone; a worker executes it."""
    row = _found(request, pk)
    try:
        request_run(request, row.service, Options(targets=(row.key,)), linked=True)
    except RainboError as error:
        messages.error(request, f"{error}.")
    return _back(row)


@post_only
def pause_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    row = _found(request, pk)
    hours, reason = request.POST.get("hours", ""), " ".join(request.POST.get("reason", "").split())
    if hours not in PAUSES or not 0 < len(reason) <= 255:
        messages.error(request, "Not paused: choose for how long, and enter a reason.")
        return _back(row)
    until = timezone.now() + timedelta(hours=int(hours))
    _change(request, "connection.paused", row, paused_until=until, pause_reason=reason)
    messages.success(request, f"Paused for {PAUSES[hours]}: {reason}")
    return _back(row)


@post_only
def resume_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    row = _found(request, pk)
    _change(request, "connection.resumed", row, paused_until=None, pause_reason="")
    messages.success(request, "Resumed. It is fetched when it is due.")
    return _back(row)


@sensitive_post_parameters("token")
@post_only
def reconnect_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    row = _found(request, pk)
    try:
        with transaction.atomic():
            registration.reconnect(row, request.POST.get("token", ""))
            record(request, "connection.reconnected", row)
    except UsageError as error:
        messages.error(request, f"Not connected: {error}.")
    else:
        messages.success(request, "Connected again. It is fetched within a minute.")
    return _back(row)


@post_only
def disconnect_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Withdraw and forget the credentials; the records go with the connection, or stay."""
    row = _found(request, pk)
    deletes = request.POST.get("records") == "delete"
    if deletes and not request.user.has_perm("integrations.delete_connection"):
        raise PermissionDenied
    said, is_left = disconnecting.withdraw(row)
    with transaction.atomic():
        facts = {"service": row.service, "account": row.account, "records deleted": deletes}
        record(request, "connection.disconnected", row, before=facts)
        if deletes:
            row.delete()
        else:
            row.disconnect()
    what = "It is deleted with its records." if deletes else "Its records stay."
    level = messages.WARNING if is_left else messages.SUCCESS
    messages.add_message(request, level, f"Disconnected. {said} {what}")
    if deletes:
        return HttpResponseRedirect(reverse("admin:integrations_connection_changelist"))
    return _back(row)


def _change(request: HttpRequest, action: str, row: Connection, **fields: Any) -> None:
    before = {name: getattr(row, name) for name in fields}
    with transaction.atomic():
        Connection.objects.filter(pk=row.pk).update(**fields)
        record(request, action, row, before=before, after=fields)


def _found(request: HttpRequest, pk: int) -> Connection:
    """The connection, if this user may change it."""
    if not request.user.has_perm("integrations.change_connection"):
        raise PermissionDenied
    row = get_object_or_404(access.visible(request.user), pk=pk)
    if not access.may_manage(request.user, row):
        raise PermissionDenied
    return row


def _back(row: Connection) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:integrations_connection_change", args=[row.pk]))
