"""What earlier runs left behind for the next one."""

from __future__ import annotations

from datetime import datetime, timedelta

from syncs import schedules, specs
from syncs.models import Confirmation, RunTarget, TargetState, Trigger
from syncs.run import Run

MANUAL = (Trigger.COMMAND, Trigger.BUTTON, Trigger.API)


def confirmed_lately(run: Run) -> dict[str, datetime]:
    """Targets that a manual run may leave out: confirmed less than half a period ago, and when.

    Empty for a scheduled run, and for one that is forced, dry, accepting or repeating.
    """
    options = run.options
    if (
        run.record.trigger not in MANUAL
        or options.force
        or options.dry_run
        or options.accept_held is not None
        or options.failed_from is not None
    ):
        return {}
    sync, now = run.record.sync, run.now()
    since = now - schedules.period(specs.get(sync), now) / 2
    return dict(Confirmation.objects.filter(sync=sync, at__gt=since).values_list("target", "at"))


def rows_day_ago(sync: str, target: str, now: datetime) -> int | None:
    """The target's rows 24 h ago, or after the last accepted publish since; None if unknown."""
    parts = RunTarget.objects.filter(
        run__sync=sync, target=target, state=TargetState.SUCCEEDED, total__isnull=False
    ).order_by("-run_id")
    since = now - timedelta(hours=24)
    recent = parts.filter(run__finished_at__gt=since)
    part = (
        recent.filter(
            run__accepts__targets__target=target, run__accepts__targets__state=TargetState.HELD
        ).first()
        or parts.filter(run__finished_at__lte=since).first()
        or recent.last()
    )
    return part.total if part else None
