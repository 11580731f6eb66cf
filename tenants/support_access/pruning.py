"""Deletes sessions and applications' events some time after they ended or came."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings

from common.clock import database_now
from syncs.engine.pruning import in_batches
from tenants.models import ApplicationEvent, SupportSession


def old_sessions(before: datetime) -> Iterator[int]:  # noqa: ARG001 (it has a setting of its own)
    """Delete those that ended more than RAINBO_SUPPORT_RETENTION_DAYS ago; 0 keeps them."""
    if days := settings.RAINBO_SUPPORT_RETENTION_DAYS:
        until = database_now() - timedelta(days=days)
        yield from in_batches(SupportSession.objects.filter(closed_at__lt=until))


def old_events(before: datetime) -> Iterator[int]:  # noqa: ARG001
    """Delete those that came more than RAINBO_SUPPORT_RETENTION_DAYS ago; 0 keeps them."""
    if days := settings.RAINBO_SUPPORT_RETENTION_DAYS:
        until = database_now() - timedelta(days=days)
        yield from in_batches(ApplicationEvent.objects.filter(received_at__lt=until))
