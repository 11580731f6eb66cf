from __future__ import annotations

import pytest

from tests.caches import register
from tests.instances import InstanceFleet


@pytest.fixture
def registered(fleet: InstanceFleet, transactional_db: None) -> InstanceFleet:
    """Three instances as new, known to RAINBO; the first is the master."""
    for instance in fleet.instances:
        register(instance)
    return fleet
