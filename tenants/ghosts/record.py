"""Writes an instance's answer about its ghost users into ghost_users."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import LiteralString

from syncs.transfer.session import Session
from tenants.ghosts.policy import CONFIRMED, Ghost, GhostOutcome
from tenants.models.ghost import GONE, GhostState

_SETTLED = "owed_since = NULL, held_by = NULL"
_ANSWERED = """
    INSERT INTO ghost_users AS known
        (instance_id, admin_id, remote_id, wanted, confirmed, confirmed_at, last_error)
    SELECT %(instance)s, admin_id, remote_id, wanted, confirmed, %(at)s, last_error
      FROM unnest(%(admins)s::bigint[], %(remote_ids)s::text[], %(wanted)s::text[],
                  %(confirmed)s::text[], %(errors)s::text[])
        AS answered (admin_id, remote_id, wanted, confirmed, last_error)
        ON CONFLICT (admin_id, instance_id) DO UPDATE
       SET remote_id = excluded.remote_id, wanted = excluded.wanted,
           confirmed = excluded.confirmed, confirmed_at = excluded.confirmed_at,
           last_error = excluded.last_error, held_by = NULL,
           owed_since = CASE WHEN NOT excluded.confirmed = ANY (%(gone)s)
                             THEN known.owed_since END"""
_SCOPE = """
       instance_id = %(instance)s AND NOT admin_id = ANY (%(wanted)s::bigint[])
   AND (%(only)s::bigint[] IS NULL OR admin_id = ANY (%(only)s::bigint[]))"""
_ABSENT = f"""
    UPDATE ghost_users
       SET remote_id = NULL, wanted = '{GhostState.INACTIVE}', confirmed = '{GhostState.ABSENT}',
           confirmed_at = %(at)s, last_error = '', {_SETTLED}
     WHERE {_SCOPE} AND NOT admin_id = ANY (%(answered)s::bigint[])"""  # noqa: S608 (constants)
_WANTED = f"""
    INSERT INTO ghost_users (instance_id, admin_id, wanted, confirmed, last_error)
    SELECT %(instance)s, admin_id, '{GhostState.ACTIVE}', '{GhostState.UNKNOWN}', %(error)s
      FROM unnest(%(wanted)s::bigint[]) AS wished (admin_id)
        ON CONFLICT (admin_id, instance_id) DO UPDATE
       SET wanted = excluded.wanted, last_error = excluded.last_error"""  # noqa: S608 (constants)
_UNWANTED = f"""
    UPDATE ghost_users
       SET wanted = '{GhostState.INACTIVE}', last_error = %(error)s,
           held_by = coalesce(%(held_by)s, held_by)
     WHERE {_SCOPE} AND NOT confirmed = ANY (%(gone)s)"""  # noqa: S608 (constants)
_INTENDED = f"""
    INSERT INTO ghost_users (instance_id, admin_id, wanted, confirmed, last_error)
    SELECT instance_id, admin_id, '{GhostState.ACTIVE}', '{GhostState.UNKNOWN}', ''
      FROM unnest(%(instances)s::bigint[]) AS place (instance_id)
     CROSS JOIN unnest(%(admins)s::bigint[]) AS wished (admin_id)
     WHERE NOT EXISTS (
           SELECT FROM ghost_users AS known
            WHERE known.instance_id = place.instance_id AND known.admin_id = wished.admin_id
              AND NOT known.confirmed = ANY (%(gone)s))
        ON CONFLICT (admin_id, instance_id) DO UPDATE
       SET confirmed = excluded.confirmed"""  # noqa: S608 (constants)
_DEACTIVATED = """
    SELECT part.target, sum(part.removed)::bigint
      FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
     WHERE run.sync = %(sync)s AND part.target = ANY (%(targets)s)
       AND part.state IN ('succeeded', 'failed') AND part.removed > 0
       AND run.finished_at > %(since)s AND NOT run.options ? 'dry_run'
       AND run.id > coalesce((
           SELECT max(accepting.id)
             FROM syncs_syncrun AS accepting
             JOIN syncs_runtarget AS let ON let.run_id = accepting.id
            WHERE accepting.sync = %(sync)s AND accepting.options ? 'accept_held'
              AND let.target = part.target AND let.state IN ('succeeded', 'failed')
              AND let.removed > 0), 0)
     GROUP BY part.target"""


def intend(session: Session, instance_ids: Collection[int], admins: Collection[int]) -> None:
    """Record as unknown what is about to be made, so that a run that dies forgets no ghost."""
    session.execute(_INTENDED, {"instances": [*instance_ids], "admins": [*admins], "gone": [*GONE]})


def confirm(
    session: Session,
    instance_id: int,
    at: datetime,
    ghosts: Sequence[Ghost],
    wanted: Collection[int],
    only: Collection[int] | None,
) -> None:
    """Record an instance's answer: the ghosts it has, and that it has none of other leavers.

    A ghost that was altered there is not gone: it stays unknown until it is restored.
    """
    altered = {
        int(g.admin_id): g for g in ghosts if g.admin_id and g.outcome is GhostOutcome.ALTERED
    }
    own = {int(ghost.admin_id): ghost for ghost in ghosts if ghost.admin_id and ghost.is_own}
    left = {pk: ghost for pk, ghost in altered.items() if pk not in wanted}
    named = altered | own | left
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
            "gone": [*GONE],
        },
    )
    scope = _scope(instance_id, wanted, only)
    session.execute(_ABSENT, {**scope, "at": at, "answered": [*named]})


def record_failure(
    session: Session,
    instance_id: int,
    error: str,
    wanted: Collection[int],
    only: Collection[int] | None,
    *,
    create: bool,
    held_by: int | None = None,
) -> None:
    """Record what is wanted on an instance where nothing was done, and why.

    held_by: the run, if it held the deactivations for review.
    """
    scope = {**_scope(instance_id, wanted, only), "error": error}
    if create:
        session.execute(_WANTED, scope)
    session.execute(_UNWANTED, {**scope, "gone": [*GONE], "held_by": held_by})


def still_registered(session: Session, instance_ids: Collection[int]) -> set[int]:
    """Return the instances that are not deleted, and lock them until the commit."""
    rows = session.execute(
        "SELECT id FROM rds_instances WHERE id = ANY (%s) FOR KEY SHARE", [[*instance_ids]]
    )
    return {pk for (pk,) in rows}


def active_ghosts(session: Session) -> dict[int, int]:
    """Count the ghosts known to be active, per instance."""
    return _count(session, "confirmed = ANY (%s)", [GhostState.ACTIVE])


def ghosts_not_gone(session: Session) -> dict[int, int]:
    """Count the ghosts that are not known to be gone, whatever was done to them there."""
    return _count(session, "NOT confirmed = ANY (%s)", [*GONE])


def deactivated_lately(
    session: Session, sync: str, targets: Collection[str], now: datetime
) -> dict[str, int]:
    """Count what RAINBO itself deactivated in 24 h, per target; what was accepted not counted."""
    given = {"sync": sync, "targets": [*targets], "since": now - timedelta(hours=24)}
    return dict(session.execute(_DEACTIVATED, given).fetchall())


def _count(session: Session, condition: LiteralString, states: list[str]) -> dict[int, int]:
    query = f"SELECT instance_id, count(*) FROM ghost_users WHERE {condition} GROUP BY 1"  # noqa: S608
    return dict(session.execute(query, [states]).fetchall())


def _scope(
    instance_id: int, wanted: Collection[int], only: Collection[int] | None
) -> dict[str, object]:
    limited = None if only is None else [*only]
    return {"instance": instance_id, "wanted": [*wanted], "only": limited}
