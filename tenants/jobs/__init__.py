"""The syncs of the fleet. Importing this module registers them."""

from __future__ import annotations

from dataclasses import replace

from syncs.engine.registry import Sync, register
from tenants.fleet.sessions import end_sessions
from tenants.fleet.targets import (
    INSTANCES,
    active_targets,
    ghost_targets,
    master_target,
    tenant_targets,
)
from tenants.ghosts.run_log import describe_only
from tenants.jobs.sync_ghost_users import sync_ghost_users
from tenants.jobs.sync_instance_health import sync_instance_health
from tenants.jobs.sync_tenant_summaries import sync_tenant_summaries
from tenants.jobs.sync_user_routing import sync_user_routing
from tenants.routes.withheld import HIDDEN


def _register(sync: Sync) -> None:
    """A sync whose targets are instances."""
    register(replace(sync, pages=INSTANCES, end_sessions=end_sessions))


_register(
    Sync(
        name="instance_health",
        title="Health checks",
        function=sync_instance_health,
        targets=active_targets,
        cron="* * * * *",
        order=1,
    )
)
_register(
    Sync(
        name="tenant_summaries",
        title="Tenant summaries",
        function=sync_tenant_summaries,
        targets=tenant_targets,
        cron="0 * * * *",
        order=2,
        flags={"force": "--force"},
    )
)
_register(
    Sync(
        name="user_routing",
        title="E-mail routes",
        function=sync_user_routing,
        targets=master_target,
        cron="*/15 * * * *",
        order=3,
        in_parts=False,
        flags={"force": "--force"},
        hidden=HIDDEN,
    )
)
_register(
    Sync(
        name="ghost_users",
        title="Ghost users",
        function=sync_ghost_users,
        targets=ghost_targets,
        cron="0 2 * * *",
        order=4,
        flags={"only": "--admin"},
        describe_only=describe_only,
    )
)
