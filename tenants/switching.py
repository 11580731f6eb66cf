"""Taking an instance out of use and into use again, and what that comes to, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from common import manage_command
from tenants import ghosts
from tenants.models import GhostUser, RdsInstance, Tenant, UserRoute
from tenants.models.ghost import GhostState

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
        admins=ghosts.admins().count(),
    )


def switch(instance: RdsInstance, *, active: bool) -> bool:
    """Take it into use or out of it; tells whether that changed anything. A master stays in use."""
    rows = RdsInstance.objects.filter(pk=instance.pk, is_active=not active)
    if not active:
        rows = rows.filter(is_master=False)
    return bool(rows.update(is_active=active))


def command(instance: RdsInstance, *, active: bool) -> str:
    """The line for a shell that does just that: it doesn't connect either."""
    wish = "--active" if active else "--inactive"
    return manage_command.line(f"add_instance --update --id {instance.pk} {wish} --no-check")
