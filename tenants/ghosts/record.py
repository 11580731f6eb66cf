"""Writes an instance's answer about its ghost users into ghost_users."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from syncs.transfer.session import Session
from tenants.ghosts.policy import CONFIRMED, GONE, Ghost, GhostOutcome
from tenants.models.ghost import GhostState

_ANSWERED = """
    INSERT INTO ghost_users
        (instance_id, admin_id, remote_id, wanted, confirmed, confirmed_at, last_error)
    SELECT %(instance)s, admin_id, remote_id, wanted, confirmed, %(at)s, last_error
      FROM unnest(%(admins)s::bigint[], %(remote_ids)s::text[], %(wanted)s::text[],
                  %(confirmed)s::text[], %(errors)s::text[])
        AS answered (admin_id, remote_id, wanted, confirmed, last_error)
        ON CONFLICT (admin_id, instance_id) DO UPDATE
       SET remote_id = excluded.remote_id, wanted = excluded.wanted,
           confirmed = excluded.confirmed, confirmed_at = excluded.confirmed_at,
           last_error = excluded.last_error"""
_SCOPE = """
       instance_id = %(instance)s AND NOT admin_id = ANY (%(wanted)s::bigint[])
   AND (%(only)s::bigint[] IS NULL OR admin_id = ANY (%(only)s::bigint[]))"""
_ABSENT = f"""
    UPDATE ghost_users
       SET remote_id = NULL, wanted = '{GhostState.INACTIVE}', confirmed = '{GhostState.ABSENT}',
           confirmed_at = %(at)s, last_error = ''
     WHERE {_SCOPE} AND NOT admin_id = ANY (%(answered)s::bigint[])"""  # noqa: S608 (constants)
_WANTED = f"""
    INSERT INTO ghost_users (instance_id, admin_id, wanted, confirmed, last_error)
    SELECT %(instance)s, admin_id, '{GhostState.ACTIVE}', '{GhostState.UNKNOWN}', %(error)s
      FROM unnest(%(wanted)s::bigint[]) AS wished (admin_id)
        ON CONFLICT (admin_id, instance_id) DO UPDATE
       SET wanted = excluded.wanted, last_error = excluded.last_error"""  # noqa: S608 (constants)
_UNWANTED = f"""
    UPDATE ghost_users SET wanted = '{GhostState.INACTIVE}', last_error = %(error)s
     WHERE {_SCOPE} AND NOT confirmed = ANY (%(gone)s)"""  # noqa: S608 (constants)


def confirm(
    session: Session,
    instance_id: int,
    at: datetime,
    ghosts: Sequence[Ghost],
    wanted: Collection[int],
    only: Collection[int],
) -> None:
    """Record an instance's answer: the ghosts it has, and that it has none of other leavers.

    A ghost that was altered there is not gone: it stays unknown until it is restored.
    """
    altered = {
        int(g.admin_id): g for g in ghosts if g.admin_id and g.outcome is GhostOutcome.ALTERED
    }
    own = {int(ghost.admin_id): ghost for ghost in ghosts if ghost.admin_id and ghost.is_own}
    named = altered | own
    answered = {pk: ghost for pk, ghost in named.items() if ghost.outcome in CONFIRMED}
    session.execute(
        _ANSWERED,
        {
            "instance": instance_id,
            "at": at,
            "admins": [*answered],
            "remote_ids": [ghost.remote_id for ghost in answered.values()],
            "wanted": [
                GhostState.ACTIVE if pk in wanted else GhostState.INACTIVE for pk in answered
            ],
            "confirmed": [CONFIRMED[ghost.outcome] for ghost in answered.values()],
            "errors": [ghost.why or "" for ghost in answered.values()],
        },
    )
    scope = _scope(instance_id, wanted, only)
    session.execute(_ABSENT, {**scope, "at": at, "answered": [*named]})


def record_failure(
    session: Session,
    instance_id: int,
    error: str,
    wanted: Collection[int],
    only: Collection[int],
    *,
    create: bool,
) -> None:
    """Record what is wanted on an instance where nothing was done, and why."""
    scope = {**_scope(instance_id, wanted, only), "error": error}
    if create:
        session.execute(_WANTED, scope)
    session.execute(_UNWANTED, {**scope, "gone": [*GONE]})


def still_registered(session: Session, instance_ids: Collection[int]) -> set[int]:
    """Return the instances that are not deleted, and lock them until the commit."""
    rows = session.execute(
        "SELECT id FROM rds_instances WHERE id = ANY (%s) FOR KEY SHARE", [[*instance_ids]]
    )
    return {pk for (pk,) in rows}


def active_ghosts(session: Session) -> dict[int, int]:
    """Count the ghosts known to be active, per instance."""
    return dict(
        session.execute(
            "SELECT instance_id, count(*) FROM ghost_users WHERE confirmed = %s GROUP BY 1",
            [GhostState.ACTIVE],
        ).fetchall()
    )


def _scope(instance_id: int, wanted: Collection[int], only: Collection[int]) -> dict[str, object]:
    return {"instance": instance_id, "wanted": [*wanted], "only": [*only] or None}
