"""The admins who may enter tenants → their ghost users on every instance.

Written remotely, where our own fence does not reach: the remote transaction writes, then the
lease is checked, then it commits. What it does is idempotent.

A ghost that can't be made because another account has its e-mail or its admin id does not fail
the instance: that would hide the work that was done, and no retry mends it. It is counted as
withheld, told in the note and the log, and kept in ghost_users as `refused`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from syncs.errors import Conflict, ConnectionFailed, SourceTimeout
from syncs.models import TargetState
from syncs.run import Run
from tenants import fleet, ghost_record, ghosts
from tenants.choice import as_target, chosen
from tenants.ghost_plan import Answer, Plan, carry_out
from tenants.ghosts import Outcome

AWAY = (ConnectionFailed, SourceTimeout)

Part = fleet.Outcome[Answer]


def sync_ghost_users(run: Run) -> None:
    """Give every admin a ghost user on every active instance, and take the leavers' away.

    Leavers are looked for on every registered instance until it is known that none is left.
    """
    only = frozenset(ghosts.parse_only(run.options.only))
    admins = ghosts.wanted_admins()
    instances = chosen(run, also=ghosts.inactive_with_leavers(admins, only))
    run.expect(map(as_target, instances))
    plan = Plan.make(run, instances, admins, only)
    parts = fleet.each_instance(
        instances,
        partial(carry_out, run, plan),
        run.record.sync,
        writes=True,
        remember=not run.dry_run,
    )
    totals = _publish(run, plan, parts)
    for part in parts:
        _settle(run, part, totals.get(part.instance.pk, 0))


def _publish(run: Run, plan: Plan, parts: Sequence[Part]) -> dict[int, int]:
    """Record all answers in one transaction; returns the active ghosts of each instance."""
    with run.publishing() as session:
        for part in parts:
            instance, answer = part.instance, part.value
            if answer is None or answer.reasons:
                why = f"held by run {run.record.pk}" if answer else str(part.error)
                ghost_record.refuse(
                    session, instance.pk, why, plan.admins, plan.only, create=instance.is_active
                )
                continue
            ghost_record.confirm(
                session, instance.pk, answer.at, answer.ghosts, plan.admins, plan.only
            )
            if instance.is_active and not plan.only and not _missed(answer):
                run.confirm(session, str(instance.pk), answer.at, rows=len(answer.ghosts))
        if any(part.value and part.value.lifted for part in parts):
            run.use_acceptance(session)
        return ghost_record.active_ghosts(session)


def _settle(run: Run, part: Part, active: int) -> None:
    key, answer = str(part.instance.pk), part.value
    if answer is None:
        _settle_failed(run, part)
    elif answer.reasons:
        run.hold(key, answer.reasons, answer.removals)
        note = "; ".join(answer.reasons)
        run.settle(key, TargetState.HELD, note=note, seconds=part.seconds, **answer.counts)
    elif missed := _missed(answer):
        error = Conflict(f"{part.instance}: {missed}; another run can mend it")
        run.settle(key, TargetState.FAILED, error=error, seconds=part.seconds, **answer.counts)
    else:
        note = _told(run, key, answer)
        run.settle(
            key,
            TargetState.SUCCEEDED,
            note=note,
            seconds=part.seconds,
            total=active,
            **answer.counts,
        )


def _settle_failed(run: Run, part: Part) -> None:
    """An instance out of use that is away is noted, unless a person named it; others fail."""
    key = str(part.instance.pk)
    if part.instance.is_active or key in run.options.targets or not isinstance(part.error, AWAY):
        run.settle(key, TargetState.FAILED, error=part.error, seconds=part.seconds)
        return
    note = f"out of use and away, so leavers' ghost users may still be active: {part.error}"
    run.log(note, key, "warning")
    run.settle(key, TargetState.SKIPPED, note=note, seconds=part.seconds)


def _missed(answer: Answer) -> str:
    changed = [str(ghost) for ghost in answer.ghosts if ghost.outcome is Outcome.MISSED]
    return "; ".join(changed)


def _told(run: Run, key: str, answer: Answer) -> str:
    """Log each ghost that a person should look at; returns the note that sums them up."""
    strange = [g for g in answer.ghosts if g.outcome in (Outcome.REFUSED, Outcome.UNKNOWN)]
    for ghost in strange:
        run.log(str(ghost), key, "warning")
    foreign = sum(ghost.outcome is Outcome.FOREIGN for ghost in answer.ghosts)
    if foreign:
        run.log(f"{foreign} ghost users of another RAINBO were left alone", key)
    refused = sum(ghost.outcome is Outcome.REFUSED for ghost in strange)
    unknown = len(strange) - refused
    notes = [f"{refused} refused: another account is in the way"] if refused else []
    notes += [f"{unknown} unknown ghost users"] if unknown else []
    return "; ".join([*notes, "see the log"]) if notes else ""
