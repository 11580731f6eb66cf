"""Requests to cancel a run, which its process and whoever watches it look for."""

from __future__ import annotations

from typing import Any

import psycopg

from syncs.errors import Cancelled
from syncs.models import SyncRun
from syncs.transfer.session import Session

_REQUESTED = """
    SELECT cancel_requested_by FROM syncs_syncrun
     WHERE id = %s AND cancel_requested_at IS NOT NULL"""


def request_of(pk: int) -> Cancelled | None:
    """Return the request to cancel this run, if there is one."""
    requested = SyncRun.objects.filter(pk=pk).exclude(cancel_requested_at=None)
    actor = requested.values_list("cancel_requested_by", flat=True).first()
    return None if actor is None else _cancelled(actor)


def requested(session: Session, pk: int) -> psycopg.Cursor[tuple[Any, ...]]:
    """Ask for the same by the engine's own session, together with other statements perhaps."""
    return session.execute(_REQUESTED, [pk])


def raise_requested(found: psycopg.Cursor[tuple[Any, ...]]) -> None:
    """Raise the request that `requested` has found, if there is one."""
    if (row := found.fetchone()) is not None:
        raise _cancelled(row[0])


def by(actor: str) -> str:
    return f"cancelled by {actor}" if actor else "cancelled"


def _cancelled(actor: str) -> Cancelled:
    return Cancelled(f"{by(actor)}; nothing was published after that")
