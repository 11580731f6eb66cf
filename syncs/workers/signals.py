"""Lets a worker that gets SIGTERM close its run first."""

from __future__ import annotations

import signal
import sys

from django.dispatch import receiver
from django_q.signals import post_spawn

TERMINATED = 128 + signal.SIGTERM


@receiver(post_spawn)
def listen(**_: object) -> None:
    """In a new worker: let SIGTERM raise SystemExit, on which the current run is closed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
