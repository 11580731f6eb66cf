"""A person ends a run: at once while it waits, at its next safe point while it is under way."""

from __future__ import annotations

from enum import StrEnum

from django.db.models.functions import Now

from syncs.errors import Cancelled
from syncs.models import OPEN_STATES, RunState, SyncRun


class CancelOutcome(StrEnum):
    """What came of asking for the end of a run."""

    CANCELLED = "cancelled"
    ASKED = "asked"
    ENDED = "ended"


def cancel(record: SyncRun, actor: str) -> CancelOutcome:
    """End a run that waits; ask one that is under way to end. The record is read again."""
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
    """The request to end this run, if a person made one."""
    asked = SyncRun.objects.filter(pk=pk).exclude(cancel_requested_at=None)
    actor = asked.values_list("cancel_requested_by", flat=True).first()
    if actor is None:
        return None
    return Cancelled(f"{_by(actor)}; nothing was published after that")


def describe(record: SyncRun, answer: CancelOutcome) -> str:
    """The answer as a sentence."""
    if answer is CancelOutcome.CANCELLED:
        return f"Run {record.pk} of {record.sync} is cancelled: it had not begun."
    if answer is CancelOutcome.ASKED:
        return (
            f"Run {record.pk} of {record.sync} was asked to end: it stops at its next safe point "
            "and publishes nothing more."
        )
    return f"Run {record.pk} of {record.sync} ended before: it is {record.state}."


def _by(actor: str) -> str:
    return f"cancelled by {actor}" if actor else "cancelled"
