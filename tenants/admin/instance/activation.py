"""Enabling and disabling an instance: a page that says what it does, and then the POST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from activity.log import record
from common import manage_command
from common.text import counted
from tenants.ghosts import policy
from tenants.models import GhostUser, RdsInstance, Tenant, UserRoute
from tenants.models.ghost import GhostState

CHANGE = "tenants.change_rdsinstance"
MOST_ROUTES = 100_000  # how far routes are counted


@dataclass(frozen=True)
class Holdings:
    """What RAINBO keeps of an instance. routes: at most MOST_ROUTES, then there are more."""

    tenants: int
    routes: int
    ghosts: int
    admins: int

    @property
    def routes_in_words(self) -> str:
        more = "more than " if self.routes > MOST_ROUTES else ""
        return f"{more}{min(self.routes, MOST_ROUTES):,}"


def holdings(instance: RdsInstance) -> Holdings:
    """In four queries, however much there is. admins: who should have a ghost user."""
    routes = UserRoute.objects.filter(remote_instance_id=str(instance.pk)).order_by()
    active = GhostUser.objects.filter(instance=instance, confirmed=GhostState.ACTIVE)
    return Holdings(
        tenants=Tenant.objects.filter(instance=instance, vanished_at=None).count(),
        routes=routes[: MOST_ROUTES + 1].count(),
        ghosts=active.count(),
        admins=policy.admins().count(),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def enable_view(request: HttpRequest, pk: int, model_admin: Any, **_: Any) -> HttpResponse:
    return _switch(request, _found(request, pk), model_admin, active=True)


@require_http_methods(["GET", "HEAD", "POST"])
def disable_view(request: HttpRequest, pk: int, model_admin: Any, **_: Any) -> HttpResponse:
    return _switch(request, _found(request, pk), model_admin, active=False)


def effects(instance: RdsInstance, kept: Holdings, *, active: bool) -> list[str]:
    """What the switch does, in numbers, one sentence each."""
    return _enabling(kept) if active else _disabling(instance, kept)


def switch(instance: RdsInstance, *, active: bool) -> bool:
    """Enable or disable it; return whether that changed anything. A master stays enabled."""
    rows = RdsInstance.objects.filter(pk=instance.pk, is_active=not active)
    if not active:
        rows = rows.filter(is_master=False)
    return bool(rows.update(is_active=active))


def command(instance: RdsInstance, *, active: bool) -> str:
    """The line for a shell that does just that: it doesn't connect either."""
    wish = "--active" if active else "--inactive"
    return manage_command.line(f"add_instance --update --id {instance.pk} {wish} --no-check")


def _disabling(instance: RdsInstance, kept: Holdings) -> list[str]:
    return [
        (
            f"{counted(kept.tenants, 'tenant')} and {kept.routes_in_words} routes stay in the "
            "cache: the tenants are no longer refreshed; the routes are, as the master's directory "
            "has them."
        ),
        (
            "Syncs skip it: its health is no longer checked, and its tenants are no longer read. "
            "What a running sync has read from it is not published."
        ),
        (
            f"{counted(kept.ghosts, 'ghost user')} there can still enter, and no new ones "
            "are created. Those of admins who leave are still deactivated there."
        ),
        f"Nothing is changed on {instance} itself, and enabling it undoes this.",
    ]


def _enabling(kept: Holdings) -> list[str]:
    return [
        (
            "The next run of every sync includes it again: its health is checked, "
            f"and its {counted(kept.tenants, 'tenant')} known here are refreshed."
        ),
        (
            f"The next sync of ghost users gives {counted(kept.admins, 'admin')} a ghost user "
            f"there; {kept.ghosts:,} can already enter."
        ),
        "The connection is not tested now: test it before, or check the instance afterwards.",
    ]


def _obstacle(instance: RdsInstance, kept: Holdings, *, active: bool) -> str:
    """Why it can't be done; empty when it can."""
    if instance.is_active == active:
        return f"{instance} is {'active' if active else 'inactive'} already."
    if instance.is_master:
        return (
            f"{instance} is the master. Without it no route of the whole fleet would be refreshed, "
            f"and {kept.routes_in_words} routes lead to it alone. Make another instance the master "
            "first: it takes over from this one."
        )
    return ""


def _switch(
    request: HttpRequest, instance: RdsInstance, model_admin: Any, *, active: bool
) -> HttpResponse:
    kept = holdings(instance)
    obstacle = _obstacle(instance, kept, active=active)
    if request.method == "POST":
        return _do(request, instance, obstacle, active=active)
    verb = "Enable" if active else "Disable"
    context = {
        **admin.site.each_context(request),
        "title": f"{verb} {instance}?",
        "opts": model_admin.opts,
        "original": instance,
        "verb": verb,
        "obstacle": obstacle,
        "effects": effects(instance, kept, active=active),
        "command": command(instance, active=active),
    }
    return TemplateResponse(request, "tenants/instance_switch.html", context)


def _do(
    request: HttpRequest, instance: RdsInstance, obstacle: str, *, active: bool
) -> HttpResponse:
    word = "enabled" if active else "disabled"
    with transaction.atomic():
        done = not obstacle and switch(instance, active=active)
        if done:
            before, after = {"is_active": not active}, {"is_active": active}
            record(request, f"instance.{word}", instance, before=before, after=after)
    if done:
        messages.success(request, f"{instance} is {word}.")
    else:
        messages.error(
            request,
            obstacle or f"{instance} was changed in the meantime. Reload the page and try again.",
        )
    return HttpResponseRedirect(reverse("admin:tenants_rdsinstance_change", args=[instance.pk]))


def _found(request: HttpRequest, pk: int) -> RdsInstance:
    if not request.user.has_perm(CHANGE):
        raise PermissionDenied
    return get_object_or_404(RdsInstance, pk=pk)
