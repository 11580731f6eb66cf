"""The pages on which an account is connected by OAuth 2: to the service, and back."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from csp.decorators import csp_update
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.html import format_html

from activity.log import record
from common.errors import RainboError, UsageError
from common.text import sentence
from integrations import access, authorization, oauth, registration
from integrations.admin.connection_form import OAuthForm
from integrations.authorization import NewConnection
from integrations.models import Connection
from integrations.plugin import Plugin

ADD, CHANGE = "integrations.add_connection", "integrations.change_connection"


def connect_view(request: HttpRequest, service: str, **_: Any) -> HttpResponse:
    """Ask how a new connection is to be called, and send the person to the service."""
    if not request.user.has_perm(ADD):
        raise PermissionDenied
    try:
        found = registration.find_service(service)
    except UsageError as error:
        return _not_connected(request, error, None)
    form = OAuthForm(request.POST or None, initial={"name": found.title})
    if request.method == "POST" and form.is_valid():
        wanted = NewConnection(**form.cleaned_data)
        try:
            return _send(request, found, wanted)
        except RainboError as error:
            form.add_error(None, sentence(str(error)))
    return _page(request, found, form=form, obstacle=authorization.why_not(found))


def connect_again_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Send the owner of a connection to its service once more."""
    row = _found(request, pk)
    found = registration.find_service(row.service)
    obstacle = authorization.why_not(found)
    if row.owner_id != request.user.pk:
        obstacle = f"only its owner, {row.owner}, can: they sign in at {found.title}"
    elif row.base_url != found.base_url:
        obstacle = f"its address is another than {found.title}'s own: enter a token"
    if request.method == "POST" and not obstacle:
        try:
            return _send(request, found, row)
        except RainboError as error:
            obstacle = str(error)
    return _page(request, found, original=row, obstacle=obstacle)


def callback_view(request: HttpRequest, service: str, **_: Any) -> HttpResponse:
    """Store what the service granted to the person who comes back from it."""
    user: Any = request.user
    if not (user.has_perm(ADD) or user.has_perm(CHANGE)):
        raise PermissionDenied
    known: Connection | None = None
    try:
        found = registration.find_service(service)
        parameters = {name: str(value) for name, value in request.GET.items()}
        granted = authorization.receive(found, user, _session(request), parameters)
        known = granted.request.connection
        if not user.has_perm(CHANGE if known else ADD):
            raise PermissionDenied
        with transaction.atomic():
            row, is_new = authorization.store(granted)
            action = "connection.added" if is_new else "connection.reconnected"
            facts = {"service": row.service, "account": row.account, "scopes": row.scopes}
            record(request, action, row, after=facts)
    except RainboError as error:
        return _not_connected(request, error, known)
    done = "is connected" if is_new else "is connected again"
    messages.success(
        request, f"{row.account} at {found.title} {done}. It is fetched within a minute."
    )
    return _to(row)


def _send(request: HttpRequest, service: Plugin, wanted: Any) -> HttpResponse:
    user: Any = request.user
    return HttpResponseRedirect(authorization.begin(service, user, _session(request), wanted))


def _page(request: HttpRequest, service: Plugin, **context: Any) -> HttpResponse:
    """A page whose form leads to the service: browsers follow no redirect that its policy omits."""
    facts = admin.site.each_context(request) | {
        "title": f"Connect {service.title}",
        "service": service,
        **context,
    }
    if context["obstacle"]:
        facts["obstacle"] = sentence(context["obstacle"])
        return render(request, "integrations/connect.html", facts)
    auth = oauth.auth_of(service)
    place = urlsplit(auth.authorize)
    facts |= {"scopes": auth.scopes, "host": place.hostname}
    allowed = csp_update({"form-action": [f"{place.scheme}://{place.netloc}"]})

    def show(asked: HttpRequest) -> HttpResponse:
        return render(asked, "integrations/connect.html", facts)

    return cast("HttpResponse", allowed(show)(request))


def _session(request: HttpRequest) -> str:
    return request.session.session_key or ""


def _not_connected(
    request: HttpRequest, error: RainboError, row: Connection | None
) -> HttpResponse:
    messages.error(request, format_html("Not connected: {}.", str(error).rstrip(".")))
    if row is not None:
        return _to(row)
    return HttpResponseRedirect(reverse("admin:integrations_connection_changelist"))


def _to(row: Connection) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:integrations_connection_change", args=[row.pk]))


def _found(request: HttpRequest, pk: int) -> Connection:
    if not request.user.has_perm(CHANGE):
        raise PermissionDenied
    row = get_object_or_404(access.visible(request.user), pk=pk)
    if not access.may_manage(request.user, row):
        raise PermissionDenied
    return row
