"""Whether instances answer, found out while a person waits."""

from __future__ import annotations

from collections.abc import Sequence

from syncs.run import Clock
from tenants import contract, fleet
from tenants.models import RdsInstance
from tenants.vitals import Vitals, measure

LIMIT = 8.0  # seconds for one instance, so that a page answers within ten
AT_ONCE = 8  # instances that one page may test


def try_connections(instances: Sequence[RdsInstance]) -> list[fleet.Outcome[Vitals]]:
    """Connect to each with its stored settings and take its vital signs. Stores nothing."""
    statement, clock = contract.text("sync_instance_health"), Clock.read()
    return fleet.each_instance(
        instances,
        lambda _, source: measure(source, statement, clock.now),
        "connection_test",
        remember=False,
        limit=LIMIT,
    )
