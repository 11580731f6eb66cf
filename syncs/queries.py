"""What the pages, the probes and the commands read about syncs."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Max

from syncs.models import Heartbeat


def worker_heartbeat() -> datetime | None:
    """The last sign of life of any worker."""
    last: datetime | None = Heartbeat.objects.aggregate(last=Max("at"))["last"]
    return last
