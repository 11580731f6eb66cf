"""Deletes records that their service no longer has, some time after they were gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from common.clock import database_now
from integrations.models import ExternalRecord
from syncs.engine.pruning import in_batches


def gone_records() -> Iterator[int]:
    """Delete those gone for longer than RAINBO_GONE_RECORD_DAYS, batch by batch; 0 keeps them."""
    if days := settings.RAINBO_GONE_RECORD_DAYS:
        until = database_now() - timedelta(days=days)
        yield from in_batches(ExternalRecord.objects.filter(gone_at__lt=until))
