"""The fleet's own rows that `prune_runs` deletes: removals of routes.

Tenants' changes and daily counts are their history and are kept.
"""

from __future__ import annotations

from datetime import datetime

from syncs.engine import pruning
from tenants.models import RouteRemoval


def _route_removals(before: datetime) -> int:
    return RouteRemoval.objects.filter(removed_at__lt=before).delete()[0]


pruning.register("route removals", _route_removals)
