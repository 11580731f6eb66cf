"""The e-mail directory of the master → user_routes."""

from __future__ import annotations

from django.conf import settings
from psycopg import sql

from syncs import guard, held, proof
from syncs.errors import ROWS_REFUSED, RainboError, refusal
from syncs.guard import Limit
from syncs.history import rows_day_ago
from syncs.models import TargetState
from syncs.run import Counts, Run
from syncs.session import Session
from syncs.staging import Stage
from tenants import contract, presence, route_merge
from tenants.choice import as_target, master
from tenants.models import RdsInstance
from tenants.reading import Reading, read_instances

NAME = "sync_user_routing"
KEY_VERSION = 1  # of rainbo_email_key


def sync_user_routing(run: Run) -> None:
    """Make user_routes equal to the master's directory, or leave it as it is."""
    source = master()
    run.expect([as_target(source)])
    stage = Stage(run.session, "incoming_routes", contract.query(NAME))
    reading = read_instances(run, stage, [source]).get(str(source.pk))
    if reading is None:
        return
    try:
        _publish(run, stage, source, reading)
    except (RainboError, *ROWS_REFUSED) as error:
        run.settle(
            str(source.pk),
            TargetState.FAILED,
            error=refusal(error),
            seconds=reading.seconds,
            read=reading.rows,
        )


def _publish(run: Run, stage: Stage, source: RdsInstance, reading: Reading) -> None:
    target, session = str(source.pk), run.session
    stage.withhold(route_merge.UNUSABLE)
    stage.check(target, reading.rows, settings.RAINBO_WITHHELD_CAP)
    day_ago = rows_day_ago(run.record.sync, target, run.now())
    changes = route_merge.plan(session, stage, target, day_ago)
    counts: Counts = {
        "read": reading.rows,
        "added": changes.added,
        "changed": changes.changed,
        "removed": changes.removed,
        "withheld": changes.withheld + reading.rows - changes.total,
        "total": changes.total,
    }
    reasons, accepted = _judge(run, session, target, changes)
    if reasons:
        run.hold(target, reasons, route_merge.PLANNED)
        note = "; ".join(reasons)
        run.settle(target, TargetState.HELD, note=note, seconds=reading.seconds, **counts)
        return
    with run.publishing():
        if error := presence.changed(session, [source]).get(target):
            raise error
        if changes.added or changes.changed or changes.removed:
            route_merge.merge(session, run.record.pk)
        _forget_other_masters(session, run.record.sync, target)
        proof.publish_withheld(session, run.record.sync, target, stage)
        rows = route_merge.source_form(reading.hashing)
        proof.prove_equal(
            session, run.record.sync, target, stage, rows, reading.hashing, route_merge.BUCKETS
        )
        basis = _basis(source, reading)
        run.confirm(session, target, reading.at, rows=reading.rows, basis=basis)
        if accepted:
            run.use_acceptance(session)
    run.settle(
        target,
        TargetState.SUCCEEDED,
        seconds=reading.seconds,
        **counts,
    )


def _judge(
    run: Run, session: Session, target: str, changes: route_merge.RouteChanges
) -> tuple[list[str], bool]:
    """Reasons to hold, and whether a person's acceptance lifts them."""
    removals = Limit(*settings.RAINBO_GUARD_ROUTES_REMOVED)
    moves = Limit(removals.floor, settings.RAINBO_GUARD_MOVED_PERCENT)
    columns = Limit(removals.floor, settings.RAINBO_GUARD_COLUMN_PERCENT)
    reasons = guard.judge(changes.guarded, removals, moves, columns)
    if not reasons or run.options.accept_held is None:
        return reasons, False
    beyond = held.why_not_lifted(
        session,
        run.options.accept_held,
        target,
        route_merge.PLANNED,
        columns=bool(guard.judge_columns(changes.guarded, columns)),
    )
    return ([*reasons, beyond], False) if beyond else ([], True)


def _forget_other_masters(session: Session, sync: str, target: str) -> None:
    for table in ("syncs_withheldrow", "syncs_bucketdigest", "syncs_confirmation"):
        session.execute(
            sql.SQL("DELETE FROM {} WHERE sync = %s AND target <> %s").format(
                sql.Identifier(table)
            ),
            [sync, target],
        )


def _basis(source: RdsInstance, reading: Reading) -> str:
    """What the stored digests were computed from: a change of any forces the full way."""
    return " ".join(
        (
            f"instance={source.pk}",
            f"identity={source.identity}",
            f"sql={contract.fingerprint(NAME)}",
            f"key={KEY_VERSION}",
            f"hash={reading.hashing.value}",
        )
    )
