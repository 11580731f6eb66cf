from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import time_machine
from django.apps import AppConfig


class FaultsConfig(AppConfig):
    name = "tests.syncs.faults"
    label = "faults"

    def ready(self) -> None:
        from django_q import pusher

        from syncs.engine import registry
        from tests.syncs.faults.names import TENANTS
        from tests.syncs.faults.probes import PROBES
        from tests.syncs.faults.settings import HASTE

        kept = registry.get(TENANTS)
        registry._registry.clear()
        for sync in (*PROBES, kept):
            registry.register(sync)
        pusher.sleep = lambda seconds: time.sleep(seconds / HASTE)  # after an error
        if hours := float(os.environ.get("FAULTS_CLOCK", "0")):
            there = datetime.now(UTC) + timedelta(hours=hours)
            time_machine.travel(there, tick=True).start()
