"""Held sets of changes: when one can be accepted, and when a newer one replaces it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models.functions import Now
from psycopg import sql

from common.errors import UsageError
from common.redaction import redact
from syncs.models import (
    OPEN_STATES,
    Confirmation,
    HeldChange,
    RunLog,
    RunTarget,
    SyncRun,
    TargetState,
)
from syncs.transfer.session import Session

LARGEST_TENANTS = 50  # that are counted one by one

# By the numbers of instance and tenant where they have as many changes.
_KEEP = """
    WITH kept AS (
        INSERT INTO syncs_heldchange (run_id, target, kind, source_id, detail, tenant_instance,
                                      tenant)
        SELECT run.id, {target}, kind, source_id, detail, tenant_instance, tenant
          FROM syncs_syncrun AS run, ({changes}) AS planned
         WHERE run.id = {run} AND run.nonce = {nonce}
        RETURNING kind, tenant_instance, tenant
    ), counted AS (
        SELECT tenant_instance, tenant, kind, count(*) AS changes FROM kept GROUP BY 1, 2, 3
    ), ranked AS (
        SELECT tenant_instance, tenant, jsonb_object_agg(kind, changes) AS kinds,
               sum(changes) AS changes,
               row_number() OVER (
                   ORDER BY sum(changes) DESC, {instance_number}, tenant_instance COLLATE "C",
                            {tenant_number}, tenant COLLATE "C") AS place
          FROM counted WHERE tenant IS NOT NULL GROUP BY tenant_instance, tenant
    )
    SELECT (SELECT jsonb_object_agg(kind, changes)
              FROM (SELECT kind, sum(changes) AS changes FROM counted GROUP BY kind) AS by_kind),
           jsonb_build_object(
               'largest', coalesce(jsonb_agg(jsonb_build_array(tenant_instance, tenant, kinds)
                                             ORDER BY place) FILTER (WHERE place <= {most}), '[]'),
               'others', count(*) FILTER (WHERE place > {most}),
               'changes', coalesce(sum(changes) FILTER (WHERE place > {most}), 0))
      FROM ranked"""
_NUMBER = "CASE WHEN {0} ~ '^[0-9]+$' THEN {0}::numeric END NULLS LAST"

# Of counts that fall, only the targets: how many there are of them differs from run to run.
_SAME = """
    WITH held_rows AS (
        SELECT run_id, target, kind, CASE WHEN kind <> 'lowered' THEN source_id END AS source_id,
               CASE WHEN kind <> 'lowered' THEN detail END AS detail
          FROM syncs_heldchange WHERE run_id IN (%(one)s, %(other)s)
    ), severe AS (
        SELECT bool_or(kind IN ('removed', 'moved')) AS is_severe
          FROM held_rows WHERE run_id = %(one)s
    ), held_a AS (SELECT target, kind, source_id, detail FROM held_rows, severe
                   WHERE run_id = %(one)s AND NOT (is_severe AND kind = 'changed')),
       held_b AS (SELECT target, kind, source_id, detail FROM held_rows, severe
                   WHERE run_id = %(other)s AND NOT (is_severe AND kind = 'changed'))
    SELECT NOT EXISTS (
        (TABLE held_a EXCEPT TABLE held_b) UNION ALL (TABLE held_b EXCEPT TABLE held_a))"""


def has_held(run: SyncRun) -> bool:
    return run.targets.filter(state=TargetState.HELD).exists()


def why_not_acceptable(run: SyncRun) -> str:
    """Return why this run can't be accepted; empty if it can."""
    if run.is_dry:
        return f"run {run.pk} was a dry run: only what a real run holds can be accepted"
    if not has_held(run):
        return f"run {run.pk} holds nothing"
    if run.accepted_by_id:
        return f"run {run.pk} was accepted by run {run.accepted_by_id}"
    if run.superseded_by_id and is_repeated(run):
        return f"run {run.pk} was superseded by run {run.superseded_by_id}: look at that one"
    if run.superseded_by_id:
        return f"run {run.superseded_by_id} has published what run {run.pk} holds"
    if run.discarded_at:
        return f"run {run.pk} was discarded by {run.discarded_by}: {run.discard_reason}"
    return ""


def open_acceptor(run: SyncRun) -> SyncRun | None:
    """Return the queued or running run that is to publish what this one holds."""
    return (
        SyncRun.objects.filter(sync=run.sync, state__in=OPEN_STATES)
        .filter(options__accept_held=run.pk)
        .exclude(options__has_key="dry_run")
        .first()
    )


def take_for_decision(pk: int) -> SyncRun:
    """Return the held run, locked against other decisions until the transaction ends.

    Raises UsageError if it can't be decided about, or no longer.
    """
    run = SyncRun.objects.select_for_update(no_key=True).filter(pk=pk).first()
    if run is None:
        raise UsageError(f"there is no run {pk}")
    if run.is_open:
        raise UsageError(f"run {pk} has not ended yet")
    if reason := why_not_acceptable(run):
        raise UsageError(reason)
    if other := open_acceptor(run):
        by = f", which {other.actor} asked for," if other.actor else ""
        raise UsageError(f"run {pk} is being accepted: run {other.pk}{by} is {other.state}")
    return run


def check_reason(reason: str, deciding: str) -> None:
    """Raise UsageError for a decision without a reason, or with one that is too long."""
    longest = SyncRun._meta.get_field("discard_reason").max_length or 0
    if not reason.strip():
        raise UsageError(f"{deciding} a held run needs a reason (--reason)")
    if len(reason) > longest:
        raise UsageError(f"the reason is longer than {longest} characters")


def discard(pk: int, actor: str, reason: str) -> SyncRun:
    """Discard what the run holds: it is kept for reading and never published.

    A later run with the same changes is held again. Raises UsageError.
    """
    reason = redact(" ".join(reason.split()))
    check_reason(reason, "discarding")
    with transaction.atomic():
        run = take_for_decision(pk)
        fields = {"discarded_by": actor, "discard_reason": reason}
        SyncRun.objects.filter(pk=pk).update(discarded_at=Now(), **fields)
        RunLog.objects.create(run=run, message=f"discarded by {actor}: {reason}")
        run.refresh_from_db()
    return run


def describe_discarded(run: SyncRun, name: str) -> str:
    """name: what the reader calls the sync."""
    return (
        f"Run {run.pk} of {name} is discarded: none of its held changes is published. "
        "The next run evaluates the source again, and is held again if nothing has changed."
    )


def waiting(sync: str) -> list[SyncRun]:
    """Runs of a sync whose held changes wait for a person, newest first."""
    return list(
        SyncRun.objects.filter(
            sync=sync,
            targets__state=TargetState.HELD,
            accepted_by=None,
            superseded_by=None,
            discarded_at=None,
        )
        .exclude(options__has_key="dry_run")
        .distinct()
    )


def supersede_older(run: SyncRun) -> None:
    """Supersede older held runs that need no decision after this one, and drop their changes.

    Those that hold the same set as this one, and those of whose instances each was published
    since. Of the others, the changes of instances that were published since are dropped; counts
    and reasons are kept. One that is just being accepted is left alone.
    """
    if run.is_dry:
        return
    holds = has_held(run)
    if not holds and not Confirmation.objects.filter(run=run).exists():
        return
    for older in waiting(run.sync):
        if older.pk >= run.pk or open_acceptor(older):
            continue
        held_targets = set(_held_targets(older))
        left = held_targets - published_since(older, held_targets).keys()
        HeldChange.objects.filter(run=older, target__in=held_targets - left).delete()
        if not left or (holds and _same_set(older, run)):
            SyncRun.objects.filter(pk=older.pk).update(superseded_by=run)
            HeldChange.objects.filter(run=older).delete()


def is_repeated(run: SyncRun) -> bool:
    """Whether the run that superseded this one holds any of its instances again."""
    again = RunTarget.objects.filter(run=run.superseded_by, state=TargetState.HELD)
    return again.filter(target__in=_held_targets(run)).exists()


def _held_targets(run: SyncRun) -> list[str]:
    held = run.targets.filter(state=TargetState.HELD)
    return list(held.values_list("target", flat=True))


def published_since(run: SyncRun, targets: Collection[str]) -> dict[str, int]:
    """Return those targets that a later run confirmed, and that run."""
    later = Confirmation.objects.filter(sync=run.sync, target__in=targets, run__gt=run.pk)
    return dict(later.values_list("target", "run"))


def as_query(changes: Sequence[tuple[str, str, str]]) -> sql.Composable:
    """Return a query that returns these (kind, source_id, detail)."""
    kinds, keys, details = ([change[at] for change in changes] for at in range(3))
    return sql.SQL(
        "SELECT * FROM unnest({}::text[], {}::text[], {}::text[]) AS c (kind, source_id, detail)"
    ).format(sql.Literal(kinds), sql.Literal(keys), sql.Literal(details))


class Kept(NamedTuple):
    """How much was kept for review: changes of each kind, and of each tenant.

    tenants: as `RunTarget.held_tenants` has it: `largest`, the instance, the id and the changes of
    each kind of the tenants with most; `others` and `changes`, how many further tenants and
    changes of theirs. None for changes that don't name tenants.
    """

    counts: dict[str, int]
    tenants: dict[str, Any] | None = None


def keep(session: Session, run: SyncRun, target: str, changes: sql.Composable) -> Kept:
    """Store a plan's removals, moves and changes for review; return how many they are.

    changes: a query that returns (kind, source_id, detail, tenant_instance, tenant) of one target;
    the last two are the tenant that has the row now, by its id on its instance, so that of a move
    it is the one that loses it; NULL for what is about no tenant. Nothing is stored if the row of
    the run's id is another run's.
    """
    counts, tenants = session.execute(
        sql.SQL(_KEEP).format(
            changes=changes,
            run=sql.Literal(run.pk),
            nonce=sql.Literal(run.nonce),
            target=sql.Literal(target),
            most=sql.Literal(LARGEST_TENANTS),
            instance_number=sql.SQL(_NUMBER).format(sql.Identifier("tenant_instance")),
            tenant_number=sql.SQL(_NUMBER).format(sql.Identifier("tenant")),
        )
    ).fetchone() or (None, None)
    return Kept(counts or {}, tenants)


def counts_of(held_run: int | None, target: str) -> dict[str, int]:
    """Return what the guard counted of a held target."""
    part = RunTarget.objects.filter(run=held_run, target=target, state=TargetState.HELD).first()
    return part.guarded_counts or {} if part else {}


def why_not_lifted(
    session: Session, held_run: int, target: str, changes: sql.Composable, *, columns: bool
) -> str:
    """Return why the acceptance of a held run does not cover a plan; empty if it does.

    Every removal and move must be in the set that was accepted; columns: every change of a
    guarded column too, since too many of them are a reason to hold.
    """
    if not RunTarget.objects.filter(run=held_run, target=target, state=TargetState.HELD).exists():
        return f"run {held_run} held nothing of this instance"
    row = session.execute(
        sql.SQL(
            "SELECT count(*) FROM (SELECT kind, source_id, detail FROM ({changes}) AS planned "
            "WHERE kind IN ('removed', 'moved') OR {columns} AND kind = 'changed' "
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
    """Whether both hold the same removals and moves or, without any, the same changes."""
    with connection.cursor() as cursor:
        cursor.execute(_SAME, {"one": one.pk, "other": other.pk})
        return bool(cursor.fetchone()[0])
