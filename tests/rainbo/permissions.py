"""Every address of the console and what it takes: a new one needs its row here.

A row says what GET and POST take, from someone who is signed in:
    a permission, or several of which one suffices
    STAFF    being signed in is enough
    NOBODY   denied to all, superusers too
    NEVER    no such method: 405
`data` is what a POST would bring to do something, so that a hole would show. `{seen}` in it is the
version of the schedule that the address leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

NEXT_MONTH = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT%H:%M}"


class Rule(Enum):
    OPEN = "without signing in"
    STAFF = "signed in"
    NOBODY = "denied to all"
    NEVER = "405"


OPEN, STAFF, NOBODY, NEVER = Rule.OPEN, Rule.STAFF, Rule.NOBODY, Rule.NEVER
Needs = Rule | str | tuple[str, ...]


@dataclass(frozen=True)
class Page:
    get: Needs
    post: Needs
    data: Mapping[str, str] = field(default_factory=dict)
    gives: tuple[int, ...] = (200, 302)  # to users with the permission
    acts: bool = True  # a POST changes rows of RAINBO's own database
    row: str = ""  # the subject, when it is another than the one of its kind


def model(
    name: str,
    *,
    add: Needs = NOBODY,
    change: Needs = NOBODY,
    delete: Needs = NOBODY,
    data: Mapping[str, str] | None = None,
) -> dict[str, Page]:
    """The pages that Django's admin has for each model. `data` is of its form."""
    app, _, kind = name.partition(".")
    view = f"{app}.view_{kind}"
    see: Needs = (view, change) if isinstance(change, str) else view
    base, row, data = f"{app}/{kind}/", f"{app}/{kind}/<path:object_id>/", data or {}
    return {
        base: Page(see, see, acts=False),
        f"{base}add/": Page(add, add, data),
        f"{row}history/": Page(STAFF, STAFF),  # leads to the activity, which has its own
        f"{row}delete/": Page(delete, delete, {"post": "yes"}),
        f"{row}change/": Page(see, change, data),
        row: Page(STAFF, STAFF),  # leads to the page of change
    }


def press(needs: Needs, *, acts: bool = True, row: str = "", **data: str) -> Page:
    """A button: POST alone."""
    return Page(NEVER, needs, data, acts=acts, row=row)


USER = {
    "username": "intruder",
    "password1": "not a secret 1",
    "password2": "not a secret 1",
    "usable_password": "true",
    "is_staff": "on",
    "is_active": "on",
    "date_joined_0": "2026-01-01",
    "date_joined_1": "00:00:00",
}
INSTANCE = {
    "id": "77",
    "name": "intruder",
    "host": "127.0.0.1",
    "port": "1",
    "database": "app",
    "user": "rainbo",
    "new_password": "not a secret",
    "save_anyway": "on",
    "ssl_mode": "disable",
    "require_auth": "scram-sha-256",
}
CONNECTION = {
    "service": "github",
    "name": "intruder",
    "token": "not-a-secret",
    "account": "",
    "base_url": "",
    "minutes": "5",
    "update_frequency_minutes": "5",
}
MANAGE = "integrations.manage_connections"  # the subject is another person's, and shared
COMES_BACK = ("integrations.add_connection", "integrations.change_connection")
CHANNEL = {
    "name": "intruder",
    "new_address": "https://hooks.example/x",
    "level": "1",
    "per_hour": "5",
    "zone": "UTC",
}
ENTER = {"reason": "An intruder wants to see", "ticket": "", "minutes": "30", "read_only": "on"}
SCHEDULE = {"enabled": "on", "kind": "15", "at": "02:00", "note": "intruder", "seen": "{seen}"}

CHANGE_INSTANCE = "tenants.change_rdsinstance"
SEE_INSTANCE = ("tenants.view_rdsinstance", CHANGE_INSTANCE)

PAGES: dict[str, Page] = {
    # The console as a whole
    "": Page(STAFF, STAFF),
    "find/": Page("tenants.view_userroute", "tenants.check_instance", acts=False),
    "now/": Page(STAFF, STAFF),  # each part of it asks for its own permission
    "monitoring/": Page(("syncs.view_syncrun", "syncs.change_syncrun"), NEVER),
    "login/": Page(OPEN, OPEN),
    "logout/": Page(NEVER, STAFF),
    "search/": Page(STAFF, STAFF),
    "password_change/": Page(STAFF, STAFF, {"new_password1": "x", "new_password2": "x"}),
    "password_change/done/": Page(STAFF, NEVER),
    "autocomplete/": Page(NOBODY, NEVER),
    "jsi18n/": Page(STAFF, NEVER),
    "r/<path:content_type_id>/<path:object_id>/": Page(STAFF, STAFF, gives=(404,)),
    "^(?P<app_label>…)/$": Page(STAFF, STAFF, gives=(200, 404)),
    "(?P<url>.*)$": Page(STAFF, STAFF, gives=(404,)),
    # For programs: no person's session counts there, only a token
    "model-sync/all": Page(OPEN, OPEN, gives=(401, 415)),
    "model-sync/status": Page(OPEN, OPEN, gives=(401, 415)),
    "pricing/sync/<str:key>": Page(OPEN, OPEN, gives=(401, 415)),
    # A user's own two-factor authentication
    "second-factor/": Page(STAFF, NEVER),
    "second-factor/code/": Page(STAFF, STAFF),
    "second-factor/enrol/": Page(STAFF, STAFF),
    "second-factor/codes/": Page(NEVER, STAFF),
    "second-factor/remove/": Page(NEVER, STAFF),
    # People
    **model(
        "auth.user",
        add=("auth.add_user",),
        change="auth.change_user",
        delete="auth.delete_user",
        data=USER,
    ),
    "auth/user/<id>/password/": Page(
        "auth.change_user",
        "auth.change_user",
        {"password1": "not a secret 1", "password2": "not a secret 1", "usable_password": "true"},
    ),
    "auth/user/<int:pk>/reset-second-factor/": press("auth.change_user"),
    **model(
        "auth.group",
        add="auth.add_group",
        change="auth.change_group",
        delete="auth.delete_group",
        data={"name": "intruder"},
    ),
    **model(
        "api.apitoken",
        add="api.add_apitoken",
        data={"name": "intruder", "role": "operator", "valid_for": "30"},
    ),
    "api/apitoken/<int:pk>/rotate/": press("api.change_apitoken", overlap="0"),
    "api/apitoken/<int:pk>/revoke/": press("api.change_apitoken"),
    # What people did
    **model("activity.activity"),
    "activity/activity/export/": press("activity.view_activity", acts=False),
    # The fleet
    **model("tenants.tenant"),
    "tenants/tenant/export/": press("tenants.export_tenant", acts=False),
    "tenants/tenant/<int:pk>/live/": press("tenants.check_instance", acts=False),
    "tenants/tenant/<int:pk>/sync/": press("syncs.run_sync"),
    # To enter needs two-factor authentication, too: tests/tenants/support_access
    "tenants/tenant/<int:pk>/enter/": Page(
        "tenants.open_supportsession", "tenants.open_supportsession", ENTER, acts=False
    ),
    "tenants/tenant/<int:pk>/opt-out/": press("tenants.add_supportoptout", reason="to see"),
    "tenants/tenant/<int:pk>/opt-in/": press("tenants.delete_supportoptout", row="closed tenant"),
    **model("tenants.supportsession"),
    "tenants/supportsession/export/": press("tenants.view_supportsession", acts=False),
    "tenants/supportsession/<uuid:pk>/end/": press("tenants.end_supportsession"),
    **model("tenants.userroute"),
    **model("tenants.ghostuser"),
    "tenants/ghostuser/all/": Page("tenants.view_ghostuser", "tenants.view_ghostuser", acts=False),
    "tenants/ghostuser/sync/": press("syncs.run_sync", instance="1"),
    **model(
        "tenants.rdsinstance",
        add="tenants.add_rdsinstance",
        change="tenants.change_rdsinstance",
        delete="tenants.delete_rdsinstance",
        data=INSTANCE,
    ),
    "tenants/rdsinstance/<path:object_id>/change/": Page(SEE_INSTANCE, NOBODY),
    "tenants/rdsinstance/<int:pk>/settings/": Page(SEE_INSTANCE, CHANGE_INSTANCE, INSTANCE),
    "tenants/rdsinstance/<int:pk>/test-connection/": press("tenants.check_instance"),
    "tenants/rdsinstance/<int:pk>/check-now/": press("tenants.check_instance"),
    "tenants/rdsinstance/<int:pk>/sync-now/": press("syncs.run_sync"),
    "tenants/rdsinstance/<int:pk>/enable/": Page(CHANGE_INSTANCE, CHANGE_INSTANCE, acts=False),
    "tenants/rdsinstance/<int:pk>/disable/": Page(CHANGE_INSTANCE, CHANGE_INSTANCE),
    # Alerts
    **model("alerts.incident"),
    "alerts/incident/<int:pk>/acknowledge/": press("alerts.change_incident"),
    "alerts/incident/<int:pk>/mute/": press("alerts.change_incident", hours="1", reason="to see"),
    "alerts/incident/<int:pk>/unmute/": press("alerts.change_incident", row="muted incident"),
    **model(
        "alerts.channel",
        add="alerts.add_channel",
        change="alerts.change_channel",
        delete="alerts.delete_channel",
        data=CHANNEL,
    ),
    "alerts/channel/<uuid:pk>/test/": press("alerts.change_channel", acts=False),
    **model("alerts.rule", change="alerts.change_rule", data={"level": "3"}),
    # Syncs
    **model("syncs.syncrun"),
    "syncs/syncrun/<int:pk>/live/": Page("syncs.view_syncrun", "syncs.view_syncrun", acts=False),
    "syncs/syncrun/<int:pk>/cancel/": press("syncs.run_sync"),
    "syncs/syncrun/<int:pk>/retry/": press("syncs.run_sync", row="ended run"),
    "syncs/syncrun/<int:pk>/accept/": press("syncs.accept_held", row="ended run", reason="to see"),
    "syncs/syncrun/<int:pk>/discard/": press("syncs.accept_held", row="ended run", reason="to see"),
    "syncs/syncrun/<int:pk>/withheld/": press("syncs.view_syncrun", acts=False),
    "syncs/syncrun/<int:pk>/held/": press("syncs.view_syncrun", acts=False),
    **model(
        "integrations.connection",
        add="integrations.add_connection",
        change=MANAGE,
        delete=MANAGE,
        data=CONNECTION,
    ),
    "integrations/connection/<int:pk>/fetch/": press(MANAGE),
    "integrations/connection/<int:pk>/pause/": press(MANAGE, hours="1", reason="to see"),
    "integrations/connection/<int:pk>/resume/": press(MANAGE),
    "integrations/connection/<int:pk>/reconnect/": press(MANAGE, token="not-a-secret"),
    "integrations/connection/<int:pk>/disconnect/": press(MANAGE, records="keep"),
    # The service named 1 is not there: these lead to the list.
    "integrations/connection/connect/<slug:service>/": Page(
        "integrations.add_connection", "integrations.add_connection", {"name": "x"}, acts=False
    ),
    "integrations/connection/<int:pk>/connect/": Page(MANAGE, MANAGE, acts=False),
    "integrations/connection/callback/<slug:service>/": Page(COMES_BACK, COMES_BACK, acts=False),
    **model("integrations.externalrecord"),
    **model("integrations.cataloguemodel"),
    "integrations/cataloguemodel/export/": press(
        ("integrations.view_cataloguemodel", "integrations.change_cataloguemodel"), acts=False
    ),
    **model(
        "syncs.syncschedule",
        add=NOBODY,  # every sync has one
        change="syncs.change_syncschedule",
        data=SCHEDULE,
    ),
    "syncs/syncschedule/<int:pk>/run/": press("syncs.run_sync"),
    "syncs/syncschedule/<int:pk>/dry-run/": press("syncs.run_sync"),
    "syncs/syncschedule/<int:pk>/pause/": press(
        "syncs.change_syncschedule", until=NEXT_MONTH, reason="to see"
    ),
    "syncs/syncschedule/<int:pk>/resume/": press("syncs.change_syncschedule"),
}

# Actions on selected rows of a list: without the permission, they are not offered and a POST does
# nothing.
ACTIONS: dict[tuple[str, str], str] = {
    ("auth.user", "delete_selected"): "auth.delete_user",
    ("auth.group", "delete_selected"): "auth.delete_group",
    ("tenants.rdsinstance", "test_connections"): "tenants.check_instance",
    ("tenants.rdsinstance", "check_now"): "tenants.check_instance",
}
