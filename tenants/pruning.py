"""The fleet's own rows that `prune_runs` deletes: removals of routes.

Tenants' changes and daily counts are their history and are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from syncs.engine import pruning
from tenants.models import RouteRemoval


def _route_removals(before: datetime) -> Iterator[int]:
    return pruning.in_batches(RouteRemoval.objects.filter(removed_at__lt=before))


pruning.register("route removals", _route_removals)
