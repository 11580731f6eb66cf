from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instances import InstanceFleet
from tests.tenants.conftest import registered

__all__ = ["registered"]

TABLE = Path(__file__).parents[3] / "deploy" / "support_access" / "support_sessions.sql"


@pytest.fixture
def set_up(registered: InstanceFleet) -> Iterator[InstanceFleet]:
    """Instance 2 has the table of support sessions, as its page says."""
    registered[2].execute(TABLE.read_text())
    yield registered
    registered[2].server.start()
    registered[2].execute("DROP TABLE IF EXISTS rainbo_support_sessions")
