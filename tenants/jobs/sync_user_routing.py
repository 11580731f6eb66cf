"""The e-mail directory of the master → user_routes."""

from __future__ import annotations

import psycopg
from django.conf import settings
from psycopg import sql

from common.errors import RainboError
from common.text import counted
from syncs.engine import guard
from syncs.engine.baseline import windows
from syncs.engine.guard import Limit, Limits
from syncs.engine.run import Counts, Run
from syncs.errors import ROWS_REJECTED, ContractBroken, NotEqual, rows_error
from syncs.models import TargetState
from syncs.transfer import difference
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage
from tenants.fleet import change_check, contract, resolution
from tenants.fleet.reader import Reading, read_instances
from tenants.fleet.targets import as_target, master
from tenants.models import RdsInstance
from tenants.routes import first_fill, merge, part_index, partition
from tenants.routes.directory import Directory
from tenants.routes.merge import NAME
from tenants.routes.miscounts import MISCOUNT


def sync_user_routing(run: Run) -> None:
    """Make user_routes equal to the master's directory, or leave it as it is."""
    source = master()
    run.expect([as_target(source)])
    try:
        _sync(run, source)
    except NotEqual as error:  # after a partial read: the stored rows are not what was published
        run.session.execute("DISCARD TEMP")
        _sync(run, source, alarm=str(error))


def _sync(run: Run, source: RdsInstance, alarm: str = "") -> None:
    """Read and publish. alarm: why a full read is needed. Raises NotEqual after a partial read."""
    target = str(source.pk)
    stage = Stage(run.session, "incoming_routes", contract.query(NAME))
    directory = Directory(run, source, stage, alarm)
    reading = read_instances(run, stage, [source], directory.take).get(target)
    if reading is None:
        return
    if directory.miscounted:
        run.log(MISCOUNT, target, "error")
    if directory.is_whole:
        run.log(f"read in full: {directory.why}", target, "error" if directory.alarming else "info")
    elif directory.recomputed:
        run.log(f"stored routes compared again: {directory.recomputed}", target)
    elif directory.by_digests:
        run.log(f"compared by digests: {directory.by_digests}", target)
        if directory.hashed:
            where = counted(directory.hashed, "bucket")
            run.log(f"hashes of rows were compared in {where} of digests", target)
    elif directory.pulled:
        run.log(f"found by a count: {counted(directory.pulled, 'row')} may be new", target)
    try:
        _publish(run, stage, source, reading, directory)
    except (RainboError, *ROWS_REJECTED) as error:
        if isinstance(error, NotEqual) and not directory.is_whole:
            raise
        run.record_outcome(
            target,
            TargetState.FAILED,
            error=_describe_error(error, stage, target),
            seconds=reading.seconds,
            read=reading.rows,
        )


def _describe_error(error: RainboError | psycopg.Error, stage: Stage, target: str) -> RainboError:
    """Return the error to report: a duplicate id, if that is why rows were rejected."""
    if isinstance(error, (NotEqual, *ROWS_REJECTED)):
        try:
            stage.reject_duplicates(target)
        except ContractBroken as duplicate:
            return duplicate
    return rows_error(error)


def _publish(
    run: Run, stage: Stage, source: RdsInstance, reading: Reading, directory: Directory
) -> None:
    target, session = str(source.pk), run.session
    known_bad = 0 if directory.is_whole else difference.withheld_before(session, directory.cached)
    stage.withhold(merge.UNUSABLE)
    bad = stage.check(target, reading.rows, settings.RAINBO_WITHHELD_CAP, known_bad)
    sources = {target: source.identity}
    window = windows(run.record.sync, sources, run.now(), shared=True)[target]
    rows = reading.rows - bad
    row_by_row = partition.why_not_attach(session) if directory.is_whole and rows else ""
    is_attached = directory.is_whole and rows > 0 and not row_by_row
    if is_attached:
        changes = first_fill.plan(session, stage, target, rows, window)
    else:
        changes = merge.plan(session, stage, target, rows, window, directory.hidden)
    counts: Counts = {
        "read": reading.rows,
        "added": changes.added,
        "changed": changes.changed,
        "removed": changes.removed,
        "total": changes.total,
        "guarded_counts": changes.guarded.counts,
        "source": source.identity,
    }
    moved = reading.tables.change_since(resolution.remembered(run.record.sync).get(target))
    planned = resolution.planned(moved, merge.PLANNED)
    also = resolution.reasons(moved)
    decision = guard.decide(run, target, changes.guarded, _limits(), planned, also)
    if decision.reasons:
        run.hold(target, decision.reasons, planned)
        note = "; ".join(decision.reasons)
        # Of a first fill, who collides is found only when it is published.
        counts["withheld"] = None if is_attached else changes.withheld + bad
        run.record_outcome(target, TargetState.HELD, note=note, seconds=reading.seconds, **counts)
        return
    if not is_attached and not run.dry_run:
        part_index.drop_for_fill(session, changes)
    with run.publishing():
        if error := change_check.changed_since_read(session, [source]).get(target):
            raise error
        with directory.proving():
            if is_attached:
                changes = first_fill.publish(session, changes)
            else:
                merge.merge(session, run.record.pk, changes)
            _forget_other_masters(session, run.record.sync, target)
        basis = directory.basis(changes.withheld)
        tables = reading.tables.as_json()
        run.confirm(session, target, reading.at, rows=reading.rows, basis=basis, tables=tables)
        if decision.accepted:
            run.use_acceptance(session)
    if row_by_row and changes.added == changes.total:
        run.log(f"routes were stored row by row: {row_by_row}", target)
    part_index.keep(session, changes)
    merge.refresh_statistics(session, changes)
    note = f"read in full: {directory.why}" if directory.alarming else ""
    note = "; ".join(filter(None, [MISCOUNT if directory.miscounted else "", note]))
    counts |= {"accepted": decision.accepted, "withheld": changes.withheld + bad}
    run.record_outcome(target, TargetState.SUCCEEDED, note=note, seconds=reading.seconds, **counts)


def _limits() -> Limits:
    removals = Limit(*settings.RAINBO_GUARD_ROUTES_REMOVED)
    return Limits(
        removals=removals,
        moves=Limit(removals.floor, settings.RAINBO_GUARD_MOVED_PERCENT),
        columns=Limit(removals.floor, settings.RAINBO_GUARD_COLUMN_PERCENT),
    )


def _forget_other_masters(session: Session, sync: str, target: str) -> None:
    for table in ("syncs_withheldrow", "syncs_bucketdigest", "syncs_confirmation"):
        session.execute(
            sql.SQL("DELETE FROM {} WHERE sync = %s AND target <> %s").format(
                sql.Identifier(table)
            ),
            [sync, target],
        )
