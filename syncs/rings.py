"""What the queue still holds though nobody takes it: workers died, or there are none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.core.signing import BadSignature
from django.db import transaction
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from common.clock import database_now
from syncs import schedules

MOST = 1_000  # rings that one call takes over


def take_over() -> Iterator[tuple[str, datetime]]:
    """Take rings that no worker took within a beat; the syncs and planned times among them.

    Each leaves the queue when the caller asks for the next, together with what the caller wrote.
    Nothing is lost with the others: a run that waits is found without its ring, and a sign of
    life that came so late would say nothing.
    """
    before = database_now() - timedelta(seconds=settings.RAINBO_BEAT)
    old = OrmQ.objects.filter(lock__lt=before).order_by("pk")
    for pk in old.values_list("pk", flat=True)[:MOST]:
        with transaction.atomic():
            row = old.select_for_update(skip_locked=True).filter(pk=pk).first()
            if row is None:
                continue
            if (slot := _slot(row)) is not None:
                yield slot
            row.delete()


def _slot(row: OrmQ) -> tuple[str, datetime] | None:
    """The sync and planned time that it was rung for; None for what rang for something else."""
    try:
        task = SignedPackage.loads(row.payload)
    except (BadSignature, TypeError):
        return None  # of a former SECRET_KEY: workers drop it too
    slot = task["kwargs"].get(schedules.SLOT)
    if task["func"] != schedules.FUNCTION or slot is None:
        return None
    return task["args"][0], datetime.fromisoformat(slot)
