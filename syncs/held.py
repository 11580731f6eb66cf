"""Held sets of changes: when a person may accept one, and when a newer one replaces it."""

from __future__ import annotations

from django.db import connection
from psycopg import sql

from syncs.models import HeldChange, RunTarget, SyncRun, TargetState
from syncs.session import Session

_SAME = """
    WITH grave AS (SELECT bool_or(kind <> 'changed') AS is_grave
                     FROM syncs_heldchange WHERE run_id = %(one)s),
         held_a AS (SELECT target, kind, source_id, detail FROM syncs_heldchange, grave
                     WHERE run_id = %(one)s AND NOT (is_grave AND kind = 'changed')),
         held_b AS (SELECT target, kind, source_id, detail FROM syncs_heldchange, grave
                     WHERE run_id = %(other)s AND NOT (is_grave AND kind = 'changed'))
    SELECT NOT EXISTS (
        (TABLE held_a EXCEPT TABLE held_b) UNION ALL (TABLE held_b EXCEPT TABLE held_a))"""


def has_held(run: SyncRun) -> bool:
    return run.targets.filter(state=TargetState.HELD).exists()


def why_not_acceptable(run: SyncRun) -> str:
    """Why a person can't accept what this run holds; empty when they can."""
    if run.is_dry:
        return f"run {run.pk} was a dry run: only what a real run holds can be accepted"
    if not has_held(run):
        return f"run {run.pk} holds nothing"
    if run.accepted_by_id:
        return f"run {run.pk} was accepted by run {run.accepted_by_id}"
    if run.superseded_by_id:
        return f"run {run.pk} was superseded by run {run.superseded_by_id}: accept that one"
    return ""


def waiting(sync: str) -> list[SyncRun]:
    """Runs of a sync whose held changes wait for a person, newest first."""
    return list(
        SyncRun.objects.filter(
            sync=sync,
            targets__state=TargetState.HELD,
            accepted_by=None,
            superseded_by=None,
        )
        .exclude(options__has_key="dry_run")
        .distinct()
    )


def supersede_repeats(run: SyncRun) -> None:
    """Where this run holds the same set as an older one, it stands for both."""
    if not has_held(run):
        return
    for older in waiting(run.sync):
        if older.pk < run.pk and _same_set(older, run):
            SyncRun.objects.filter(pk=older.pk).update(superseded_by=run)
            HeldChange.objects.filter(run=older).delete()


def keep(session: Session, run_id: int, target: str, changes: sql.Composable) -> None:
    """Store a plan's removals, moves and changes for a person.

    changes: a query that returns (kind, source_id, detail) of one target.
    """
    session.execute(
        sql.SQL(
            "INSERT INTO syncs_heldchange (run_id, target, kind, source_id, detail) "
            "SELECT {run}, {target}, kind, source_id, detail FROM ({changes}) AS planned"
        ).format(changes=changes, run=sql.Literal(run_id), target=sql.Literal(target))
    )


def why_not_lifted(
    session: Session, held_run: int, target: str, changes: sql.Composable, *, columns: bool
) -> str:
    """Why the acceptance of a held run does not cover a plan; empty when it does.

    Every removal and move must be in the set that was accepted; columns: every change of a
    guarded column too, since too many of them are a reason to hold.
    """
    if not RunTarget.objects.filter(run=held_run, target=target, state=TargetState.HELD).exists():
        return f"run {held_run} held nothing of this instance"
    row = session.execute(
        sql.SQL(
            "SELECT count(*) FROM (SELECT kind, source_id, detail FROM ({changes}) AS planned "
            "WHERE {columns} OR kind <> 'changed' "
            "EXCEPT SELECT kind, source_id, detail FROM syncs_heldchange "
            "WHERE run_id = {run} AND target = {target}) AS beyond"
        ).format(
            changes=changes,
            columns=sql.Literal(columns),
            run=sql.Literal(held_run),
            target=sql.Literal(target),
        )
    ).fetchone()
    beyond = row[0] if row else 0
    return f"{beyond:,} of the changes were not accepted" if beyond else ""


def _same_set(one: SyncRun, other: SyncRun) -> bool:
    """Whether both hold the same removals and moves; where there are none, the same changes."""
    with connection.cursor() as cursor:
        cursor.execute(_SAME, {"one": one.pk, "other": other.pk})
        return bool(cursor.fetchone()[0])
