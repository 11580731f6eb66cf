from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import time_machine
from django.apps import AppConfig


class FaultsConfig(AppConfig):
    name = "tests.syncs.faults"
    label = "faults"

    def ready(self) -> None:
        from syncs.engine import registry
        from tests.syncs.faults.names import TENANTS
        from tests.syncs.faults.probes import PROBES

        kept = registry.get(TENANTS)
        registry._registry.clear()
        for sync in (*PROBES, kept):
            registry.register(sync)
        if hours := float(os.environ.get("FAULTS_CLOCK", "0")):
            there = datetime.now(UTC) + timedelta(hours=hours)
            time_machine.travel(there, tick=True).start()
