"""Cancels a run: at once if it is queued, at its next safe point if it is running."""

from __future__ import annotations

from enum import StrEnum

from django.db.models.functions import Now

from syncs.errors import Cancelled
from syncs.models import OPEN_STATES, RunState, SyncRun


class CancelOutcome(StrEnum):
    """The result of a request to cancel a run."""

    CANCELLED = "cancelled"
    ASKED = "asked"
    ENDED = "ended"


def cancel(record: SyncRun, actor: str) -> CancelOutcome:
    """Cancel a queued run, or request it of a running one. The record is read again."""
    SyncRun.objects.filter(pk=record.pk, state__in=OPEN_STATES, cancel_requested_at=None).update(
        cancel_requested_at=Now(), cancel_requested_by=actor
    )
    if record.move(
        RunState.CANCELLED,
        expect=(RunState.QUEUED,),
        finished_at=Now(),
        error=f"{_by(actor)} before it began",
    ):
        return CancelOutcome.CANCELLED
    return CancelOutcome.ASKED if record.state == RunState.RUNNING else CancelOutcome.ENDED


def request_of(pk: int) -> Cancelled | None:
    """Return the request to cancel this run, if there is one."""
    requested = SyncRun.objects.filter(pk=pk).exclude(cancel_requested_at=None)
    actor = requested.values_list("cancel_requested_by", flat=True).first()
    if actor is None:
        return None
    return Cancelled(f"{_by(actor)}; nothing was published after that")


def describe(record: SyncRun, outcome: CancelOutcome) -> str:
    """Describe the outcome as a sentence."""
    if outcome is CancelOutcome.CANCELLED:
        return f"Run {record.pk} of {record.sync} is cancelled: it had not begun."
    if outcome is CancelOutcome.ASKED:
        return (
            f"Run {record.pk} of {record.sync} was asked to end: it stops at its next safe point "
            "and publishes nothing more."
        )
    return f"Run {record.pk} of {record.sync} ended before: it is {record.state}."


def _by(actor: str) -> str:
    return f"cancelled by {actor}" if actor else "cancelled"
