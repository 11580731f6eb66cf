"""The console's sidebar: what a person may see, grouped by what it is about."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import get_script_prefix, reverse

from alerts import queries

# Group → (title, model, icon of the theme's own font[, page when it isn't the model's list])
ROOMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Fleet": (
        ("Find", "tenants.userroute", "search", "find"),
        ("Instances", "tenants.rdsinstance", "dns"),
        ("Tenants", "tenants.tenant", "apartment"),
        ("Routes", "tenants.userroute", "alternate_email"),
        ("Ghost users", "tenants.ghostuser", "badge"),
        ("Support access", "tenants.supportsession", "support_agent"),
    ),
    "Integrations": (
        ("Connections", "integrations.connection", "cable"),
        ("Models", "integrations.cataloguemodel", "price_change"),
        ("Records", "integrations.externalrecord", "dataset"),
    ),
    "Syncs": (
        ("Runs", "syncs.syncrun", "sync"),
        ("Monitoring", "syncs.syncrun", "monitoring", "monitoring"),
        ("Schedules", "syncs.syncschedule", "schedule"),
    ),
    "Alerts": (
        ("Incidents", "alerts.incident", "notifications"),
        ("Channels", "alerts.channel", "campaign"),
        ("Rules", "alerts.rule", "tune"),
    ),
    "People": (
        ("Users", "auth.user", "person"),
        ("Groups", "auth.group", "group"),
        ("API tokens", "api.apitoken", "key"),
        ("Activity", "activity.activity", "history"),
    ),
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The first page, and the groups of the menu, with the item that leads to this page or to what
    is above it."""
    groups = [
        {
            "title": title,
            "items": [_item(request, *item) for item in items if _may_see(request, item[1])],
        }
        for title, items in ROOMS.items()
    ]
    home = reverse("admin:index")
    now = {"title": "Now", "icon": "monitor_heart", "link": home, "active": request.path == home}
    return [{"items": [now]}, *(group for group in groups if group["items"])]


def shows_history(request: HttpRequest) -> bool:
    """Whether pages of objects lead to what people did to them."""
    page = request.resolver_match.url_name if request.resolver_match else ""
    return not (page or "").startswith("activity_") and _may_see(request, "activity.activity")


def account(_: HttpRequest) -> list[dict[str, str]]:
    """What a person does about themselves."""
    return [
        {"title": "Change password", "link": reverse("admin:password_change")},
        {"title": "Two-factor authentication", "link": reverse("second_factor")},
    ]


def stylesheet(_: HttpRequest) -> str:
    return static("rainbo/console.css")


def find_stylesheet(_: HttpRequest) -> str:
    return static("rainbo/find.css")


def focus_script(_: HttpRequest) -> str:
    return static("rainbo/focus.js")


def keyboard_script(_: HttpRequest) -> str:
    return static("rainbo/keyboard.js")


def copy_script(_: HttpRequest) -> str:
    return static("rainbo/copy.js")


def zone_script(_: HttpRequest) -> str:
    return static("rainbo/zone.js")


def find_script(_: HttpRequest) -> str:
    return static("rainbo/find.js")


def favicon(_: HttpRequest) -> str:
    return static("rainbo/favicon.svg")


def _item(
    request: HttpRequest, title: str, model: str, icon: str, page: str = ""
) -> dict[str, Any]:
    name = page or f"admin:{model.replace('.', '_')}_changelist"
    link = _address(name, get_script_prefix())
    item: dict[str, Any] = {"title": title, "icon": icon, "link": link}
    item["active"] = link in request.path
    if model == "alerts.incident" and (count := queries.count_open(request.user.has_perm)):
        item["badge"] = count
    return item


@cache
def _address(name: str, _: str) -> str:
    """The same for every request that the server gave the same script prefix."""
    return reverse(name)


def _may_see(request: HttpRequest, model: str) -> bool:
    """Return whether the user can view the model: permission to change includes it."""
    app, name = model.split(".")
    allowed = (f"{app}.view_{name}", f"{app}.change_{name}")
    return any(request.user.has_perm(permission) for permission in allowed)
