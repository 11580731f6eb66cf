"""RAINBO's settings with the syncs of the fault tests, and a scheduler that hurries."""

from __future__ import annotations

import os

from rainbo.settings import *  # noqa: F403
from rainbo.settings import INSTALLED_APPS, Q_CLUSTER

INSTALLED_APPS = [*INSTALLED_APPS, "tests.syncs.faults.apps.FaultsConfig"]
HASTE = int(os.environ.get("FAULTS_HASTE", "1"))


class Cycle(float):
    """The guard's cycle, which counts more than it lasts: the scheduler's 30 s pass sooner."""

    def __radd__(self, counted: float) -> float:
        return counted + float(self) * HASTE


Q_CLUSTER = Q_CLUSTER | {"guard_cycle": Cycle(0.5), "poll": 0.2 if HASTE > 1 else 1}
