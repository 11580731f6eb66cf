from __future__ import annotations

from collections.abc import Callable

import pytest

from syncs import specs
from syncs.run import Run
from syncs.specs import Sync, Target

Make = Callable[[Callable[[Run], None]], Sync]


@pytest.fixture
def make_sync(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Registers a sync named `probe` that runs the given function, for this test alone."""
    monkeypatch.setattr(specs, "_registry", dict(specs._registry))

    def make(function: Callable[[Run], None]) -> Sync:
        return specs.register(
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
