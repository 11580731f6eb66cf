"""Held sets of changes: when a person may accept one, and when a newer one replaces it."""

from __future__ import annotations

from django.db import connection

from syncs.models import HeldChange, SyncRun, TargetState

_SAME = """
    WITH held_a AS (SELECT target, kind, source_id, detail FROM syncs_heldchange WHERE run_id = %s),
         held_b AS (SELECT target, kind, source_id, detail FROM syncs_heldchange WHERE run_id = %s)
    SELECT NOT EXISTS (
        (TABLE held_a EXCEPT TABLE held_b) UNION ALL (TABLE held_b EXCEPT TABLE held_a))"""


def has_held(run: SyncRun) -> bool:
    return run.targets.filter(state=TargetState.HELD).exists()


def why_not_acceptable(run: SyncRun) -> str:
    """Why a person can't accept what this run holds; empty when they can."""
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
        ).distinct()
    )


def supersede_repeats(run: SyncRun) -> None:
    """Where this run holds the same set as an older one, it stands for both."""
    if not has_held(run):
        return
    for older in waiting(run.sync):
        if older.pk < run.pk and _same_set(older, run):
            SyncRun.objects.filter(pk=older.pk).update(superseded_by=run)
            HeldChange.objects.filter(run=older).delete()


def _same_set(one: SyncRun, other: SyncRun) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_SAME, [one.pk, other.pk])
        return bool(cursor.fetchone()[0])
