"""The four roles: groups that `migrate` makes, each with the permissions that match its name.

A permission is given to a role once, when both exist for the first time; that is remembered.
What people change of the groups afterwards stays: a permission that was taken away, or a group
that was renamed or deleted, doesn't come back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import connection

CONSOLE = (  # the apps that have pages
    *("activity", "alerts", "api", "auth", "integrations", "syncs", "tenants"),
)

LOOK = (
    "activity.view_activity",
    "alerts.view_incident",
    "integrations.view_cataloguemodel",
    "integrations.view_connection",
    "integrations.view_externalrecord",
    "syncs.view_syncrun",
    "syncs.view_syncschedule",
    "tenants.view_ghostuser",
    "tenants.view_rdsinstance",
    "tenants.view_supportsession",
    "tenants.view_tenant",
    "tenants.view_userroute",
)
SUPPORT = (
    *LOOK,
    "alerts.change_incident",
    *(f"integrations.{what}_connection" for what in ("add", "change", "delete")),  # their own
    *("syncs.run_sync", "tenants.check_instance", "tenants.export_tenant", "tenants.impersonate"),
    *("tenants.open_supportsession", "tenants.end_supportsession", "tenants.add_supportoptout"),
)
ROLES: dict[str, tuple[str, ...]] = {
    "system_admin": (
        *SUPPORT,
        "alerts.view_rule",
        "alerts.change_rule",
        *(f"alerts.{what}_channel" for what in ("view", "add", "change", "delete")),
        "syncs.accept_held",
        "integrations.manage_connections",
        *(f"api.{what}_apitoken" for what in ("view", "add", "change")),
        *(f"syncs.{what}_syncschedule" for what in ("add", "change", "delete")),
        *(f"tenants.{what}_rdsinstance" for what in ("add", "change", "delete")),
        "tenants.delete_supportoptout",
        *(f"auth.{what}_user" for what in ("view", "add", "change", "delete")),
        *(f"auth.{what}_group" for what in ("view", "add", "change", "delete")),
    ),
    "support_admin": SUPPORT,
    "billing_admin": (
        *("syncs.view_syncrun", "tenants.view_tenant", "tenants.view_userroute"),
        "tenants.export_tenant",
    ),
    "read_only": LOOK,
}

# What the permissions of the roles mean, as docs/people.md says it.
MEANINGS: dict[str, tuple[str, ...]] = {
    "see tenants, routes and runs; find e-mails": (
        *("tenants.view_tenant", "tenants.view_userroute", "syncs.view_syncrun"),
    ),
    "see instances, ghost users, schedules and the activity": (
        *("tenants.view_rdsinstance", "tenants.view_ghostuser"),
        *("syncs.view_syncschedule", "activity.view_activity"),
    ),
    "see incidents, support sessions and model catalogues": (
        *("alerts.view_incident", "tenants.view_supportsession"),
        "integrations.view_cataloguemodel",
    ),
    "see the connections that are theirs or shared, and their records": (
        *("integrations.view_connection", "integrations.view_externalrecord"),
    ),
    "run, repeat and cancel syncs": ("syncs.run_sync",),
    "query instances live: test and check them, read a tenant, look an e-mail up": (
        "tenants.check_instance",
    ),
    "export tenants with their contacts": ("tenants.export_tenant",),
    "acknowledge and mute incidents": ("alerts.change_incident",),
    "connect accounts of their own, change and delete these": (
        *(f"integrations.{what}_connection" for what in ("add", "change", "delete")),
    ),
    "impersonate: get a ghost user on every instance": ("tenants.impersonate",),
    "enter tenants as support, end sessions, mark tenants *do not enter*": (
        *("tenants.open_supportsession", "tenants.end_supportsession"),
        "tenants.add_supportoptout",
    ),
    "remove the mark *do not enter*": ("tenants.delete_supportoptout",),
    "see and manage everybody's connections; not their private records": (
        "integrations.manage_connections",
    ),
    "accept or discard what a guard held": ("syncs.accept_held",),
    "pause and edit schedules": (
        *(f"syncs.{what}_syncschedule" for what in ("add", "change", "delete")),
    ),
    "register, edit, enable, disable and delete instances": (
        *(f"tenants.{what}_rdsinstance" for what in ("add", "change", "delete")),
    ),
    "manage channels and rules of alerts": (
        *("alerts.view_rule", "alerts.change_rule"),
        *(f"alerts.{what}_channel" for what in ("view", "add", "change", "delete")),
    ),
    "manage API tokens": (*(f"api.{what}_apitoken" for what in ("view", "add", "change")),),
    "manage users and groups": (
        *(f"auth.{what}_user" for what in ("view", "add", "change", "delete")),
        *(f"auth.{what}_group" for what in ("view", "add", "change", "delete")),
    ),
}


def meanings_of(permissions: Collection[str]) -> list[str]:
    """What somebody with these permissions may do, as far as RAINBO has words for it."""
    held = frozenset(permissions)
    known = (meaning for meaning, names in MEANINGS.items() if held.issuperset(names))
    return [meaning.replace("*", "") for meaning in known]


def after_migrate(using: str, apps: Any = installed, **_: object) -> None:
    """Receiver of post_migrate. Django makes permissions app by app: here all are needed."""
    try:
        apps.get_model("rainbo", "RoleGrant")
        for label in CONSOLE:
            create_permissions(installed.get_app_config(label), 0, using=using, apps=apps)
    except LookupError:  # migrated to a time when not all of these were there
        return
    give_permissions(apps, using)


def group_names() -> set[str]:
    """The groups that there are, or that the first `migrate` will make."""
    from django.contrib.auth.models import Group

    if "rainbo_rolegrant" not in connection.introspection.table_names():
        return set(ROLES)
    return set(Group.objects.values_list("name", flat=True))


def give_permissions(apps: Any, using: str) -> None:
    """Give each role what it was never given before."""
    grants = apps.get_model("rainbo", "RoleGrant").objects.using(using)
    given = set(grants.values_list("role", "permission"))
    found = _permissions(apps, using)
    for role, wanted in ROLES.items():
        new = [name for name in wanted if name in found and (role, name) not in given]
        if not new:
            continue
        group = _group(apps, using, role, is_new=role not in {known for known, _ in given})
        if group is not None:
            group.permissions.add(*(found[name] for name in new))
        grants.bulk_create([grants.model(role=role, permission=name) for name in new])


def _permissions(apps: Any, using: str) -> dict[str, int]:
    rows = (
        apps.get_model("auth", "Permission")
        .objects.using(using)
        .filter(content_type__app_label__in=CONSOLE)
        .values_list("content_type__app_label", "codename", "pk")
    )
    return {f"{app}.{codename}": pk for app, codename, pk in rows}


def _group(apps: Any, using: str, role: str, *, is_new: bool) -> Any:
    """The role's group; None when people renamed or deleted it."""
    groups = apps.get_model("auth", "Group").objects.using(using)
    return groups.get_or_create(name=role)[0] if is_new else groups.filter(name=role).first()
