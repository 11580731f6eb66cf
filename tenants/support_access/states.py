"""What RAINBO concludes of a session: pure, from what is stored and what its instance said."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tenants.models import SupportSession
from tenants.support_access.remote import RemoteState

UNUSED_AFTER = timedelta(seconds=60)  # since it expired; then a late clock can't use it either
OVER_AFTER = timedelta(seconds=5)  # since its end: the application's own check comes first
WATCHED = timedelta(minutes=5)  # since it expired: refused attempts may come so late
OVER, UNUSED, REMOVED = "time over", "never used", "its row was removed there"


@dataclass(frozen=True)
class Withdrawn:
    """What is no longer as it was when sessions were issued.

    persons: ids of the users who can still enter. instances: ids of those that keep ghost users.
    opted_out, tenants_gone: pairs of an instance's and a tenant's id. ghosts_gone: pairs of an
    instance's id and a ghost user's id there.
    """

    persons: Collection[int]
    instances: Collection[int]
    opted_out: Collection[tuple[int, str]] = ()
    tenants_gone: Collection[tuple[int, str]] = ()
    ghosts_gone: Collection[tuple[int, str]] = ()


def why_end(row: SupportSession, now: datetime, withdrawn: Withdrawn) -> str:
    """Why a session that is not over has to end; empty when it may go on."""
    if row.is_forged:
        return OVER if _is_over(row, now) else ""
    tenant = (row.instance_id, row.tenant_id)
    if row.person_id not in withdrawn.persons:
        return f"{row.person} may no longer enter tenants"
    if tenant in withdrawn.opted_out:
        return "the tenant was marked do not enter"
    if tenant in withdrawn.tenants_gone:
        return "the instance no longer has the tenant"
    if row.instance_id not in withdrawn.instances:
        return "the instance was disabled"
    if (row.instance_id, row.ghost_id) in withdrawn.ghosts_gone:
        return "the ghost user was deactivated"
    if row.redeemed_at is None and row.answered_at is not None:
        # What the instance says since then: RAINBO may have been down for longer than a minute.
        return UNUSED if row.expires_at + UNUSED_AFTER <= row.answered_at else ""
    return OVER if _is_over(row, now) else ""


def _is_over(row: SupportSession, now: datetime) -> bool:
    return row.ends_at is not None and row.ends_at + OVER_AFTER <= now


def is_watched(row: SupportSession, now: datetime) -> bool:
    """Whether its instance is still asked about it."""
    return row.closed_at is None or row.expires_at + WATCHED > now


def learned(row: SupportSession, state: RemoteState | None, now: datetime) -> dict[str, Any]:
    """What an answer changes. state: None if the instance has no such session."""
    fields: dict[str, Any] = {"answered_at": now, "error": ""}
    if state is None:
        if row.redeemed_at is not None and row.closed_at is None:
            fields |= {"closed_at": now, "ended_at": now, "ended_by": REMOVED}
            fields["differs"] = _joined(row.differs, [REMOVED])
        return fields
    fields |= {
        "redeemed_at": state.redeemed_at or row.redeemed_at,
        "ends_at": state.ends_at if state.redeemed_at else None,
        "active_at": state.active_at,
        "requests": state.requests,
        "blocked": state.blocked,
        "ended_at": state.ended_at or row.ended_at,
        "ended_by": state.ended_by or row.ended_by,
        "refused": max(state.refused or 0, row.refused),
        "refused_at": state.refused_at or row.refused_at,
        "differs": _differences(row, state),
    }
    if state.ended_at is not None and row.closed_at is None:
        fields["closed_at"] = now
    return fields


def _differences(row: SupportSession, state: RemoteState) -> str:
    """How the redeemed session differs from the one that was issued."""
    limit = timedelta(seconds=row.session_seconds)
    found: Mapping[str, bool] = {
        f"tenant {state.tenant_id} instead of {row.tenant_id}": state.tenant_id != row.tenant_id,
        f"user {state.ghost_id} instead of {row.ghost_id}": state.ghost_id != row.ghost_id,
        "a longer time than was allowed": bool(
            state.redeemed_at and state.ends_at and state.ends_at - state.redeemed_at > limit
        ),
        "it was active after its end": bool(
            state.ended_at and state.active_at and state.active_at > state.ended_at + OVER_AFTER
        ),
    }
    return _joined(row.differs, [text for text, is_so in found.items() if is_so])


def _joined(known: str, found: Iterable[str]) -> str:
    """What was seen once stays, whatever the instance says later."""
    return ", ".join([*filter(None, [known]), *(text for text in found if text not in known)])
