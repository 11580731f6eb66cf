"""Requests to cancel a run, which its process and whoever watches it look for."""

from __future__ import annotations

from syncs.errors import Cancelled
from syncs.models import SyncRun


def request_of(pk: int) -> Cancelled | None:
    """Return the request to cancel this run, if there is one."""
    requested = SyncRun.objects.filter(pk=pk).exclude(cancel_requested_at=None)
    actor = requested.values_list("cancel_requested_by", flat=True).first()
    if actor is None:
        return None
    return Cancelled(f"{by(actor)}; nothing was published after that")


def by(actor: str) -> str:
    return f"cancelled by {actor}" if actor else "cancelled"
