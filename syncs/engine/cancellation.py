"""Cancels a run: at once if it is queued, at its next safe point if it is running."""

from __future__ import annotations

from enum import StrEnum

from django.db.models.functions import Now

from syncs.engine import lost_runs
from syncs.engine.cancel_requests import by
from syncs.models import OPEN_STATES, RunState, SyncRun


class CancelOutcome(StrEnum):
    """The result of a request to cancel a run."""

    CANCELLED = "cancelled"
    ASKED = "asked"
    ABANDONED = "abandoned"
    ENDED = "ended"


def cancel(record: SyncRun, actor: str) -> CancelOutcome:
    """Cancel a queued run, or request it of a running one. The record is read again.

    A running one whose process has missed two renewals of its lease loses it, and is cancelled.
    """
    SyncRun.objects.filter(pk=record.pk, state__in=OPEN_STATES, cancel_requested_at=None).update(
        cancel_requested_at=Now(), cancel_requested_by=actor
    )
    if record.move(
        RunState.CANCELLED,
        expect=(RunState.QUEUED,),
        finished_at=Now(),
        error=f"{by(actor)} before it began",
    ):
        return CancelOutcome.CANCELLED
    if record.state != RunState.RUNNING:
        return CancelOutcome.ENDED
    closed = {lost.pk for lost in lost_runs.close_lost_runs(record.sync)}
    if record.pk not in closed:
        return CancelOutcome.ASKED
    record.refresh_from_db()
    return CancelOutcome.ABANDONED


def describe(record: SyncRun, outcome: CancelOutcome, name: str) -> str:
    """Describe the outcome as a sentence. name: what the reader calls the sync."""
    if outcome is CancelOutcome.CANCELLED:
        return f"Run {record.pk} of {name} is cancelled: it had not begun."
    if outcome is CancelOutcome.ASKED:
        return (
            f"Run {record.pk} of {name} was asked to end: it stops at its next safe point "
            "and publishes nothing more."
        )
    if outcome is CancelOutcome.ABANDONED:
        return (
            f"Run {record.pk} of {name} is cancelled: its process no longer answers, "
            "and can publish nothing more."
        )
    return f"Run {record.pk} of {name} ended before: it is {record.state}."
