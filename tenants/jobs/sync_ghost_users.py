"""The users with the permission to enter tenants → their ghost users on every instance.

Instances are written remotely, where our own fence does not work: the remote transaction writes,
then the lease is checked, then it commits. What it does is idempotent.

What is about to be made is recorded as unknown first, so that a run that dies forgets no ghost.

A ghost that is refused, missed, altered or unknown does not undo what was done for the others: the
instance fails with its name and is not confirmed, and the run is partial. A leaver's ghost that was
altered there is never recorded as gone while it is active.

Every run deactivates all that is owed on the instances that it visits, whoever it is limited to.
An acceptance is spent when the answers are recorded, for the instances that it let through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg
from django.db import DatabaseError

from common.errors import RainboError
from syncs.engine.run import Confirmed, Run
from syncs.errors import ConnectionFailed, SourceTimeout
from syncs.models import TargetState
from syncs.transfer.session import Session
from tenants.fleet import connections, resolution
from tenants.fleet.targets import as_target, selected_instances
from tenants.ghosts import owed, policy, record, run_log
from tenants.ghosts.plan import Plan, carry_out
from tenants.ghosts.run_log import InstanceOutcome
from tenants.models import RdsInstance

UNREACHABLE = (ConnectionFailed, SourceTimeout)


def sync_ghost_users(run: Run) -> None:
    """Give every admin a ghost user on every active instance, and deactivate those of leavers.

    Leavers' ghosts are looked for on every registered instance until none is left.
    """
    only = frozenset(policy.parse_only(run.options.only))
    admins = policy.wanted_admins()
    instances = selected_instances(run, also=owed.instances_without(admins), having="has_ghosts")
    plan = Plan.make(run, instances, admins, only)
    if plan.of_leavers:
        instances = [instance for instance in instances if instance.pk in plan.owed]
    run.expect(map(as_target, instances))
    run.check_acceptance()
    if not run.dry_run:
        _record_intentions(run, plan, instances)
    parts = connections.each_instance(
        instances,
        partial(carry_out, run, plan),
        run.record.purpose,
        writes=True,
        remember=not run.dry_run,
        log=run.log,
    )
    with _reporting_unrecorded(run, parts):
        totals = _publish(run, plan, parts)
    if not run.dry_run:
        owed.retire_leavers()  # those who left after the admins were read
    _record_outcome_all(run, parts, totals)


def _record_intentions(run: Run, plan: Plan, instances: Sequence[RdsInstance]) -> None:
    with run.publishing() as session:
        there = record.still_registered(session, [i.pk for i in instances if i.keeps_ghosts])
        record.intend(session, there, plan.admins)


@contextmanager
def _reporting_unrecorded(run: Run, parts: Sequence[InstanceOutcome]) -> Iterator[None]:
    """Report what the instances committed if it could not be recorded."""
    unrecorded = "" if run.dry_run else run_log.describe_unrecorded(parts)
    try:
        yield
    except (DatabaseError, psycopg.Error) as error:
        if not unrecorded:
            raise
        raise run_log.Unrecorded(f"RAINBO's own database failed: {unrecorded}") from error
    except RainboError:
        if unrecorded:
            run.log(unrecorded, level="warning")
        raise


def _publish(run: Run, plan: Plan, parts: Sequence[InstanceOutcome]) -> dict[int, int]:
    """Record all answers in one transaction.

    Returns the active ghosts of each instance; one that was deleted meanwhile is missing.
    """
    with run.publishing() as session:
        there = record.still_registered(session, [part.instance.pk for part in parts])
        with session.pipeline():  # the answers of all instances, without waiting for each
            confirmed = [
                found
                for part in parts
                if part.instance.pk in there and (found := _record(run, plan, part, session))
            ]
            run.confirm_all(session, confirmed)
        run.spend_acceptance(
            session, [str(p.instance.pk) for p in parts if p.value and p.value.lifted]
        )
        active = record.active_ghosts(session)
    return {pk: active.get(pk, 0) for pk in there}


def _record(run: Run, plan: Plan, part: InstanceOutcome, session: Session) -> Confirmed | None:
    """Record an instance's answer; return what it confirms."""
    instance, answer = part.instance, part.value
    only = plan.only_at(instance)
    if answer is None or answer.reasons:
        record.record_failure(
            session,
            instance.pk,
            f"held by run {run.record.pk}" if answer else str(part.error),
            plan.admins,
            only,
            create=instance.keeps_ghosts,
            held_by=run.record.pk if answer else None,
        )
        return None
    record.confirm(session, instance.pk, answer.at, answer.ghosts, plan.admins, only)
    target, tables = str(instance.pk), answer.tables.as_json()
    if not instance.keeps_ghosts or plan.only or answer.unequal:
        if answer.moved:  # a person has accepted it, with no less than a confirmation
            resolution.remember(session, run.record.sync, target, tables)
        return None
    return Confirmed(target, answer.at, rows=len(answer.ghosts), tables=tables)


def _record_outcome_all(
    run: Run, parts: Sequence[InstanceOutcome], totals: Mapping[int, int]
) -> None:
    """Record all successes in one commit; recording a failure can end the run."""
    succeeded = [part for part in parts if part.instance.pk in totals and _succeeded(part)]
    with run.batched():
        run_log.log_changes(run, parts)
        for part in succeeded:
            _record_outcome(run, part, totals[part.instance.pk])
    for part in parts:
        if part not in succeeded:
            _record_outcome(run, part, totals.get(part.instance.pk))


def _succeeded(part: InstanceOutcome) -> bool:
    answer = part.value
    return answer is not None and not answer.reasons and not answer.unequal


def _record_outcome(run: Run, part: InstanceOutcome, active: int | None) -> None:
    """active: the instance's active ghosts; None when it was deleted from RAINBO meanwhile."""
    key, answer = str(part.instance.pk), part.value
    if active is None:
        note = run_log.describe_deleted(part)
        run.log(note, key, "warning")
        run.record_outcome(key, TargetState.SKIPPED, note=note, seconds=part.seconds)
    elif answer is None:
        _record_outcome_failed(run, part)
    elif answer.reasons:
        run.hold(key, answer.reasons, answer.to_review)
        note = "; ".join(answer.reasons)
        run.record_outcome(key, TargetState.HELD, note=note, seconds=part.seconds, **answer.counts)
    elif error := run_log.error_of(part):
        note = run_log.log_problems(run, key, answer)
        run.record_outcome(
            key,
            TargetState.FAILED,
            note=note,
            error=error,
            seconds=part.seconds,
            **answer.counts,
        )
    else:
        note = run_log.log_problems(run, key, answer)
        run.record_outcome(
            key,
            TargetState.SUCCEEDED,
            note=note,
            seconds=part.seconds,
            total=active,
            **answer.counts,
        )


def _record_outcome_failed(run: Run, part: InstanceOutcome) -> None:
    """Skip a disabled instance that is down, unless it was named; others fail."""
    key = str(part.instance.pk)
    if (
        part.instance.keeps_ghosts
        or key in run.options.targets
        or not isinstance(part.error, UNREACHABLE)
    ):
        run.record_outcome(key, TargetState.FAILED, error=part.error, seconds=part.seconds)
        return
    note = f"unreachable, so ghost users of people who left may still be active: {part.error}"
    run.log(note, key, "warning")
    run.record_outcome(key, TargetState.SKIPPED, note=note, seconds=part.seconds)
