"""Deletes what alerts store some time after it is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef

from alerts.models import UNSENT, Delivery, Incident, IncidentEvent, Mute, Notice
from common.clock import database_now
from syncs.engine.pruning import in_batches

KEPT = timedelta(days=30)  # messages, and mutes that have ended


def prune_messages(now: datetime) -> None:
    """Delete messages, notices and mutes of long ago.

    Of an incident that is open the last message to each channel stays: its end is sent to those
    that got it.
    """
    before = now - KEPT
    sent = Notice.objects.filter(delivery__isnull=False)
    this = {"incident": OuterRef("incident"), "channel": OuterRef("channel")}
    last = sent.filter(~Exists(sent.filter(**this, pk__gt=OuterRef("pk"))))
    needed = last.filter(delivery=OuterRef("pk"), incident__resolved_at=None)
    Delivery.objects.filter(~UNSENT, ~Exists(needed), created_at__lt=before).delete()
    Notice.objects.filter(dropped_at__lt=before).delete()
    Mute.objects.filter(until__lt=before).delete()


def old_incidents() -> Iterator[int]:
    """Delete those that ended more than RAINBO_ALERTS_RETENTION_DAYS ago; 0 keeps them."""
    if before := _before():
        yield from in_batches(Incident.objects.filter(resolved_at__lt=before))


def old_events() -> Iterator[int]:
    """Delete lines of timelines that are older, also of incidents that are open still."""
    if before := _before():
        yield from in_batches(IncidentEvent.objects.filter(at__lt=before))


def _before() -> datetime | None:
    days = settings.RAINBO_ALERTS_RETENTION_DAYS
    return database_now() - timedelta(days=days) if days else None
