from __future__ import annotations

import pytest

from tests.caches import register
from tests.door_fixtures import doors, operator, serve, worker
from tests.instances import InstanceFleet

__all__ = ["doors", "operator", "serve", "worker"]


@pytest.fixture
def registered(fleet: InstanceFleet, transactional_db: None) -> InstanceFleet:
    """Three instances as new, known to RAINBO; the first is the master."""
    for instance in fleet.instances:
        register(instance)
    return fleet
