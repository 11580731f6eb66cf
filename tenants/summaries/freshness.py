"""How fresh each instance's tenants are: one judgement for the list, its filter and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncs.status import queries
from syncs.status.queries import TargetStatus
from tenants.models import RdsInstance

SUMMARIES = "tenant_summaries"
UNUSED = "unused"  # tenants of instances that no sync takes


@dataclass(frozen=True)
class TenantFreshness:
    """instances: the active ones. order: all of them by their ids."""

    instances: Mapping[int, TargetStatus]
    order: tuple[int, ...]

    def of_state(self, state: str) -> list[int]:
        """The instances whose tenants are so fresh; state: as the filter names it."""
        return [pk for pk in self.order if self._state(pk) == state]

    def _state(self, pk: int) -> str:
        found = self.instances.get(pk)
        return found.freshness.state if found else UNUSED


def read() -> TenantFreshness:
    """In one query more than the judgement itself takes, which others share."""
    sync = next(sync for sync in queries.shared_status().syncs if sync.name == SUMMARIES)
    instances = {int(target.key): target for target in sync.targets}
    order = RdsInstance.objects.order_by("pk").values_list("pk", flat=True)
    return TenantFreshness(instances, tuple(order))
