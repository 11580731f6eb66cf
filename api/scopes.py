"""What a token may do, and which permission a person needs to give it that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


@dataclass(frozen=True)
class Scope:
    """text: what it allows. permissions: all that a person needs who gives it to a token."""

    text: str
    permissions: tuple[str, ...]


FLEET = ("tenants.view_rdsinstance", "tenants.view_tenant", "tenants.view_ghostuser")
PEOPLE = ("tenants.view_userroute", "tenants.view_tenant", "syncs.view_syncrun")
SCOPES: dict[str, Scope] = {
    "syncs:read": Scope("read syncs, runs, schedules and freshness", ("syncs.view_syncrun",)),
    "syncs:run": Scope("request runs of syncs", ("syncs.run_sync",)),
    "runs:cancel": Scope("cancel runs", ("syncs.run_sync",)),
    "runs:prune": Scope("delete records of old runs", ("syncs.change_syncschedule",)),
    "schedules:write": Scope("pause and resume schedules", ("syncs.change_syncschedule",)),
    "fleet:read": Scope("read instances and tenants", FLEET),
    "people:find": Scope("look e-mails up; read contacts and held rows", PEOPLE),
    "alerts:read": Scope("read alerts", ("syncs.view_syncrun",)),
    "alerts:write": Scope("acknowledge and mute alerts", ("syncs.run_sync",)),
    "integrations:read": Scope(
        "read everybody's third-party connections, without their records",
        ("syncs.view_syncrun", "integrations.manage_connections"),
    ),
    "integrations:run": Scope("fetch from third-party services", ("syncs.run_sync",)),
    "models:run": Scope("fetch model catalogues and prices", ("syncs.run_sync",)),
    "metrics:read": Scope("read metrics", ("syncs.view_syncrun",)),
}
# Sets of scopes under one name. An operator's token runs and reads, and changes nothing else.
ROLES: dict[str, tuple[str, ...]] = {
    "operator": (
        *("syncs:read", "syncs:run", "fleet:read", "alerts:read", "integrations:read"),
        *("integrations:run", "models:run", "metrics:read"),
    ),
    "monitoring": ("syncs:read", "fleet:read", "alerts:read", "integrations:read", "metrics:read"),
}
# Of the one token that RAINBO_CRON_SECRET makes: what the addresses for cron services do.
CRON = ("syncs:read", "syncs:run", "runs:prune", "integrations:run", "models:run")


def missing_permissions(
    names: Iterable[str], person: AbstractBaseUser | AnonymousUser
) -> dict[str, str]:
    """Return the scopes that a person may not give, with a permission that is missing for each."""
    return {
        name: permission
        for name in names
        for permission in SCOPES[name].permissions
        if not person.has_perm(permission)  # type: ignore[union-attr]
    }
