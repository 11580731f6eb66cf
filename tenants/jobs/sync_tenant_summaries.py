"""Tenants with status and counts, from every instance → tenant_master."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.conf import settings

from common.errors import RainboError
from syncs.engine import guard
from syncs.engine.baseline import confirmed_lately, windows
from syncs.engine.guard import Decision, Limit, Limits
from syncs.engine.run import Confirmed, Counts, Run
from syncs.errors import ROWS_REJECTED, rows_error
from syncs.models import TargetState
from syncs.transfer import digest, joint_proof, proof
from syncs.transfer.fleet_staging import FleetStage
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage
from tenants.fleet import change_check, contract, resolution
from tenants.fleet.reader import Reading, read_instances
from tenants.fleet.targets import as_target, selected_instances
from tenants.models import RdsInstance
from tenants.summaries import merge
from tenants.summaries.merge import TenantChanges

NAME = "sync_tenant_summaries"


@dataclass(frozen=True)
class InstancePlan:
    """One instance that was read, what it would change, and whether it may.

    moved: what its query reads instead of what it read before; empty if that is the same.
    """

    instance: RdsInstance
    reading: Reading
    changes: TenantChanges
    decision: Decision
    moved: str

    @property
    def counts(self) -> Counts:
        return {
            "read": self.reading.rows,
            "added": self.changes.added,
            "changed": self.changes.changed,
            "removed": self.changes.removed,
            "withheld": self.reading.rows - self.changes.total,
            "total": self.changes.total,
            "guarded_counts": self.changes.guarded.counts,
            "source": self.instance.identity,
            "accepted": self.decision.accepted,
        }


def sync_tenant_summaries(run: Run) -> None:
    """Make each instance's part of tenant_master equal to its source, or leave it as it is."""
    instances = selected_instances(run, having="has_tenants")
    run.expect(map(as_target, instances))
    instances = _not_fresh(run, instances)
    stage = FleetStage(run.session, "incoming_tenants", contract.query(NAME))
    readings = read_instances(run, stage, instances)
    stage.withhold(merge.UNUSABLE)
    suspects = stage.suspects()
    usable = {
        target: reading
        for target, reading in readings.items()
        if target not in suspects or _usable(run, stage, target, reading)
    }
    merge.plan(run.session, stage, usable)
    by_target = {str(instance.pk): instance for instance in instances}
    sources = {target: by_target[target].identity for target in usable}
    lately = windows(run.record.sync, sources, run.now())
    changes = merge.changes(run.session, stage, lately)
    known = resolution.remembered(run.record.sync)
    parts = {
        t: _judged(run, by_target[t], r, changes[t], r.tables.change_since(known.get(t)))
        for t, r in usable.items()
    }
    _publish(run, stage, _hold_if_whole(parts, len(usable)))


def _not_fresh(run: Run, instances: list[RdsInstance]) -> list[RdsInstance]:
    """Skip, in a manual run, what was confirmed less than half a period ago."""
    fresh = confirmed_lately(run)
    for instance in instances:
        if at := fresh.get(str(instance.pk)):
            note = f"confirmed at {at:%H:%M:%S} UTC, less than half a period ago: --force reads it"
            run.record_outcome(str(instance.pk), TargetState.SKIPPED, note=note)
    return [instance for instance in instances if str(instance.pk) not in fresh]


def _usable(run: Run, stage: Stage, target: str, reading: Reading) -> bool:
    try:
        stage.check(target, reading.rows, settings.RAINBO_WITHHELD_CAP)
        stage.reject_duplicates(target)
    except RainboError as error:
        stage.drop_target(target)
        _fail(run, target, reading, error)
        return False
    return True


def _judged(
    run: Run, instance: RdsInstance, reading: Reading, changes: TenantChanges, moved: str
) -> InstancePlan:
    target = str(instance.pk)
    planned = resolution.planned(moved, merge.planned(target))
    also = resolution.reasons(moved)
    decision = guard.decide(run, target, changes.guarded, _limits(), planned, also)
    return InstancePlan(instance, reading, changes, decision, moved)


def _limits() -> Limits:
    """A tenant never changes instance, so the limit of moves is of no account."""
    removals = Limit(*settings.RAINBO_GUARD_TENANTS_REMOVED)
    columns = Limit(removals.floor, settings.RAINBO_GUARD_COLUMN_PERCENT)
    return Limits(
        removals=removals,
        moves=removals,
        columns=columns,
        sums=Limit(*settings.RAINBO_GUARD_COUNTS_LOWERED),
        emptied=Limit(*settings.RAINBO_GUARD_TENANTS_EMPTIED),
    )


def _hold_if_whole(parts: dict[str, InstancePlan], read: int) -> dict[str, InstancePlan]:
    """Hold all instances if too many are implausible at once."""
    reasons = guard.judge_whole(sum(bool(part.decision.reasons) for part in parts.values()), read)
    if not reasons:
        return parts
    return {
        target: replace(part, decision=Decision(part.decision.reasons + reasons))
        for target, part in parts.items()
    }


def _publish(run: Run, stage: Stage, parts: Mapping[str, InstancePlan]) -> None:
    good = {target: part for target, part in parts.items() if not part.decision.reasons}
    for target in parts.keys() - good.keys():
        _hold(run, target, parts[target])
    failed: dict[str, RainboError] = {}
    if good:
        with run.publishing() as session:
            failed.update(
                change_check.changed_since_read(session, (part.instance for part in good.values()))
            )
            there = {target: part for target, part in good.items() if target not in failed}
            failed.update(_merged(run, session, stage, there))
            if any(
                part.decision.accepted for target, part in there.items() if target not in failed
            ):
                run.use_acceptance(session)
    published = {target: part for target, part in good.items() if target not in failed}
    with run.batched():
        for target, part in published.items():
            run.record_outcome(
                target, TargetState.SUCCEEDED, seconds=part.reading.seconds, **part.counts
            )
    for target, error in failed.items():
        _fail(run, target, good[target].reading, error)


def _merged(
    run: Run, session: Session, stage: Stage, parts: Mapping[str, InstancePlan]
) -> dict[str, RainboError]:
    """Merge and prove the instances inside the publish; return the errors of those that failed.

    All at once; if that fails, one after the other, so that only an instance that can't be proved
    is rolled back.
    """
    error = _merged_at_once(run, session, stage, parts) if parts else None
    if error is None:
        return {}
    if len(parts) == 1:
        return dict.fromkeys(parts, error)
    failed = {}
    for target, part in parts.items():
        failed.update(_merged(run, session, stage, {target: part}))
    return failed


def _merged_at_once(
    run: Run, session: Session, stage: Stage, parts: Mapping[str, InstancePlan]
) -> RainboError | None:
    sync = run.record.sync
    hashings = {target: part.reading.hashing for target, part in parts.items()}
    ways = {hashing.here for hashing in hashings.values()}
    rows = {
        here: merge.source_forms((t for t, h in hashings.items() if h.here is here), here)
        for here in ways
    }
    try:
        with session.transaction():
            taken = {target: part.reading.at for target, part in parts.items()}
            merge.merge(session, stage, taken, run.record.pk)
            proof.publish_withheld(session, sync, parts, stage)
            joint_proof.prove_equal(session, sync, hashings, stage, rows, merge.BUCKETS)
            run.confirm_all(session, [_confirmed(*part) for part in parts.items()])
            session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except (RainboError, *ROWS_REJECTED) as error:
        return rows_error(error)
    return None


def _confirmed(target: str, part: InstancePlan) -> Confirmed:
    tables = part.reading.tables.as_json()
    return Confirmed(target, part.reading.at, part.reading.rows, _basis(part), tables)


def _hold(run: Run, target: str, part: InstancePlan) -> None:
    lowered = bool(guard.judge_counts(part.changes.guarded, _limits()))
    planned = resolution.planned(part.moved, merge.planned(target, lowered=lowered))
    run.hold(target, part.decision.reasons, planned)
    run.record_outcome(
        target,
        TargetState.HELD,
        note="; ".join(part.decision.reasons),
        seconds=part.reading.seconds,
        **part.counts,
    )


def _fail(run: Run, target: str, reading: Reading, error: RainboError) -> None:
    run.record_outcome(
        target, TargetState.FAILED, error=error, seconds=reading.seconds, read=reading.rows
    )


def _basis(part: InstancePlan) -> str:
    """Return what the stored digests were computed from."""
    return digest.format_basis(
        {
            "sql": contract.fingerprint(NAME, part.instance.schema_group),
            "digest": digest.VERSION,
            "hash": part.reading.hashing.value,
        }
    )
