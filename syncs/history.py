"""What earlier runs left behind for the guard."""

from __future__ import annotations

from datetime import datetime, timedelta

from syncs.models import RunTarget, TargetState


def rows_day_ago(sync: str, target: str, now: datetime) -> int | None:
    """The target's rows 24 h ago, or after the last accepted publish since; None if unknown."""
    parts = RunTarget.objects.filter(
        run__sync=sync, target=target, state=TargetState.SUCCEEDED, total__isnull=False
    ).order_by("-run_id")
    since = now - timedelta(hours=24)
    recent = parts.filter(run__finished_at__gt=since)
    part = (
        recent.filter(run__accepts__isnull=False).first()
        or parts.filter(run__finished_at__lte=since).first()
        or recent.last()
    )
    return part.total if part else None
