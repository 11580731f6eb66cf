from __future__ import annotations

from collections.abc import Callable

import pytest

from syncs.engine import registry
from syncs.engine.registry import Sync
from syncs.engine.run import Run
from syncs.engine.targets import Target

Make = Callable[[Callable[[Run], None]], Sync]


@pytest.fixture
def make_sync(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Registers a sync named `probe` that runs the given function, for this test alone."""
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))

    def make(function: Callable[[Run], None]) -> Sync:
        return registry.register(
            Sync(
                name="probe",
                title="Probe",
                function=function,
                targets=lambda: [Target("1", "instance 1")],
                cron="*/15 * * * *",
                order=9,
            )
        )

    return make
