from __future__ import annotations

import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from syncs.workers.supervisor import Supervisor

QCLUSTER = [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"]


class Command(BaseCommand):
    help = "Run the workers under supervision and restart them when they hang."

    def handle(self, **options: Any) -> None:
        supervisor = Supervisor(QCLUSTER)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, supervisor.stop)
        supervisor.run()
        self.stdout.write("The workers have stopped; no process is left.")
