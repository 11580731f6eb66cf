"""The admins who may enter tenants → their ghost users on every instance.

Written remotely, where our own fence does not reach: the remote transaction writes, then the
lease is checked, then it commits. What it does is idempotent.

A ghost that can't be made because another account has its e-mail or its admin id does not fail
the instance: that would hide the work that was done, and no retry mends it. It is counted as
withheld, told in the note and the log, and kept in ghost_users as `refused`. A leaver's ghost
that somebody altered there is never called gone: it is told likewise and kept as `unknown`.

A person's acceptance is spent before the first instance is asked, since what it lets through
there can't be taken back; it is given back when it let nothing through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg
from django.db import DatabaseError

from common.errors import RainboError
from syncs.engine.run import Confirmed, Run
from syncs.errors import Conflict, ConnectionFailed, SourceTimeout
from syncs.models import TargetState
from syncs.transfer.session import Session
from tenants.fleet import connections
from tenants.fleet.targets import as_target, selected_instances
from tenants.ghosts import policy, record, run_log
from tenants.ghosts.plan import Plan, carry_out
from tenants.ghosts.run_log import InstanceOutcome

AWAY = (ConnectionFailed, SourceTimeout)


def sync_ghost_users(run: Run) -> None:
    """Give every admin a ghost user on every active instance, and take the leavers' away.

    Leavers are looked for on every registered instance until it is known that none is left.
    """
    only = frozenset(policy.parse_only(run.options.only))
    admins = policy.wanted_admins()
    instances = selected_instances(run, also=policy.inactive_with_leavers(admins, only))
    run.expect(map(as_target, instances))
    plan = Plan.make(run, instances, admins, only)
    run.reserve_acceptance()
    parts = connections.each_instance(
        instances,
        partial(carry_out, run, plan),
        run.record.purpose,
        writes=True,
        remember=not run.dry_run,
    )
    with _telling(run, parts):
        if not any(part.value and part.value.lifted for part in parts):
            run.release_acceptance()
        totals = _publish(run, plan, parts)
    if not run.dry_run:
        policy.retire_leavers()  # those who left after the admins were read
    _settle_all(run, parts, totals)


@contextmanager
def _telling(run: Run, parts: Sequence[InstanceOutcome]) -> Iterator[None]:
    """What the instances committed is told when it could not be recorded."""
    words = "" if run.dry_run else run_log.unrecorded(parts)
    try:
        yield
    except (DatabaseError, psycopg.Error) as error:
        if not words:
            raise
        raise run_log.Unrecorded(f"RAINBO's own database failed: {words}") from error
    except RainboError:
        if words:
            run.log(words, level="warning")
        raise


def _publish(run: Run, plan: Plan, parts: Sequence[InstanceOutcome]) -> dict[int, int]:
    """Record all answers in one transaction.

    Returns the active ghosts of each instance; one that was deleted meanwhile is left out.
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
        active = record.active_ghosts(session)
    return {pk: active.get(pk, 0) for pk in there}


def _record(run: Run, plan: Plan, part: InstanceOutcome, session: Session) -> Confirmed | None:
    """What an instance answered; what it confirms is returned."""
    instance, answer = part.instance, part.value
    if answer is None or answer.reasons:
        why = f"held by run {run.record.pk}" if answer else str(part.error)
        record.refuse(session, instance.pk, why, plan.admins, plan.only, create=instance.is_active)
        return None
    record.confirm(session, instance.pk, answer.at, answer.ghosts, plan.admins, plan.only)
    if not instance.is_active or plan.only or run_log.missed(answer):
        return None
    return Confirmed(str(instance.pk), answer.at, rows=len(answer.ghosts))


def _settle_all(run: Run, parts: Sequence[InstanceOutcome], totals: Mapping[int, int]) -> None:
    """Those that went well are recorded by one commit: a success is no safe point to stop at."""
    well = [part for part in parts if part.instance.pk in totals and _went_well(part)]
    with run.batched():
        run_log.log_changes(run, parts)
        for part in well:
            _settle(run, part, totals[part.instance.pk])
    for part in parts:
        if part not in well:
            _settle(run, part, totals.get(part.instance.pk))


def _went_well(part: InstanceOutcome) -> bool:
    answer = part.value
    return answer is not None and not answer.reasons and not run_log.missed(answer)


def _settle(run: Run, part: InstanceOutcome, active: int | None) -> None:
    """active: the instance's active ghosts; None when it was deleted from RAINBO meanwhile."""
    key, answer = str(part.instance.pk), part.value
    if active is None:
        note = run_log.deleted(part)
        run.log(note, key, "warning")
        run.record_outcome(key, TargetState.SKIPPED, note=note, seconds=part.seconds)
    elif answer is None:
        _settle_failed(run, part)
    elif answer.reasons:
        run.hold(key, answer.reasons, answer.removals)
        note = "; ".join(answer.reasons)
        run.record_outcome(key, TargetState.HELD, note=note, seconds=part.seconds, **answer.counts)
    elif missed := run_log.missed(answer):
        error = Conflict(f"{part.instance}: {missed}; another run can mend it")
        run.record_outcome(
            key, TargetState.FAILED, error=error, seconds=part.seconds, **answer.counts
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


def _settle_failed(run: Run, part: InstanceOutcome) -> None:
    """An instance out of use that is away is noted, unless a person named it; others fail."""
    key = str(part.instance.pk)
    if part.instance.is_active or key in run.options.targets or not isinstance(part.error, AWAY):
        run.record_outcome(key, TargetState.FAILED, error=part.error, seconds=part.seconds)
        return
    note = f"out of use and away, so leavers' ghost users may still be active: {part.error}"
    run.log(note, key, "warning")
    run.record_outcome(key, TargetState.SKIPPED, note=note, seconds=part.seconds)
