"""The syncs of the fleet. Importing this module registers them."""

from __future__ import annotations

from dataclasses import replace

from common.later import later
from syncs.engine.registry import Sync, register
from tenants.fleet.targets import (
    INSTANCES,
    active_targets,
    ghost_targets,
    master_target,
    tenant_targets,
)
from tenants.routes.tenant_pages import TENANTS
from tenants.routes.withheld import HIDDEN


def _register(sync: Sync) -> None:
    """A sync whose targets are instances."""
    end_sessions = later("tenants.fleet.sessions.end_sessions")
    register(replace(sync, pages=INSTANCES, end_sessions=end_sessions))


_register(
    Sync(
        name="instance_health",
        title="Health checks",
        function=later("tenants.jobs.sync_instance_health.sync_instance_health"),
        targets=active_targets,
        cron="* * * * *",
        order=1,
    )
)
_register(
    Sync(
        name="tenant_summaries",
        title="Tenant summaries",
        function=later("tenants.jobs.sync_tenant_summaries.sync_tenant_summaries"),
        targets=tenant_targets,
        cron="0 * * * *",
        order=2,
        flags={"force": "--force"},
        tenants=TENANTS,
    )
)
_register(
    Sync(
        name="user_routing",
        title="E-mail routes",
        function=later("tenants.jobs.sync_user_routing.sync_user_routing"),
        targets=master_target,
        cron="*/15 * * * *",
        order=3,
        in_parts=False,
        flags={"force": "--force"},
        hidden=HIDDEN,
        tenants=TENANTS,
    )
)
_register(
    Sync(
        name="ghost_users",
        title="Ghost users",
        function=later("tenants.jobs.sync_ghost_users.sync_ghost_users"),
        targets=ghost_targets,
        cron="0 2 * * *",
        order=4,
        flags={"only": "--admin"},
        describe_only=later("tenants.ghosts.run_log.describe_only"),
    )
)
