"""Reports of the schedules: as text and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from rich.text import Text

from common.clock import iso
from common.terminal import printable_line
from common.text import format_duration
from syncs.models import RunState, SyncRun
from syncs.schedules import descriptions
from syncs.status.queries import Status, SyncStatus


def lines(status: Status) -> Iterator[Text]:
    """Yield a line per sync: frequency, last run, current run, retry, next run."""
    retries = _retries()
    width = max((len(sync.name) for sync in status.syncs), default=0)
    for sync in status.syncs:
        parts = [
            _frequency(sync),
            _last(sync, status.now),
            _running(sync, status.now),
            _retry(retries.get(sync.name), status.now),
            _next(sync, status.now),
        ]
        line = Text(f"{sync.name:<{width}}  ", style="bold")
        line.append(printable_line("; ".join(filter(None, parts))), "not bold")
        yield line


def document(status: Status) -> dict[str, Any]:
    """Return the schedules as a JSON document: times in ISO 8601, unknown as null."""
    retries = _retries()
    return {
        "now": status.now.isoformat(),
        "schedules": [_entry(sync, retries.get(sync.name)) for sync in status.syncs],
    }


def _entry(sync: SyncStatus, retry: SyncRun | None) -> dict[str, Any]:
    plan = next(iter(sync.planned), None)
    return {
        "sync": sync.name,
        "title": sync.title,
        "cron": plan and plan.cron,
        "rhythm": _frequency(sync) if plan else None,
        "off": plan.off if plan else None,
        "paused_until": iso(sync.pause.until) if sync.pause else None,
        "pause_reason": sync.pause.reason if sync.pause else "",
        "next_slot": iso(sync.next_slot),
        "last_run": sync.last_run and sync.last_run.document(),
        "running": sync.running and sync.running.document(),
        "retry": retry
        and {"run": retry.pk, "attempt": retry.attempt, "not_before": iso(retry.not_before)},
    }


def _retries() -> dict[str, SyncRun]:
    """Return the queued retry of each sync."""
    waiting = SyncRun.objects.filter(state=RunState.QUEUED, attempt__gt=1, slot__isnull=False)
    return {run.sync: run for run in waiting.order_by("pk")}


def _frequency(sync: SyncStatus) -> str:
    if not sync.planned:
        own = f"no schedule: each {sync.noun} by its own frequency"
        return "no schedule" if sync.has_schedule else own
    return ", ".join(descriptions.describe(plan.cron) for plan in sync.planned)


def _last(sync: SyncStatus, now: datetime) -> str:
    run = sync.last_run
    if run is None:
        return "never run"
    ago = (
        f" {format_duration(max(now - run.finished_at, timedelta()))} ago"
        if run.finished_at
        else ""
    )
    return f"run {run.pk} {run.state}{ago}"


def _running(sync: SyncStatus, now: datetime) -> str:
    run = sync.running
    if run is None:
        return ""
    state = "running for" if run.is_live else "unresponsive, started before"
    return f"run {run.pk} {state} {format_duration(max(now - run.started_at, timedelta()))}"


def _retry(run: SyncRun | None, now: datetime) -> str:
    if run is None or run.not_before is None:
        return ""
    return f"attempt {run.attempt} {_when(run.not_before, now)} (run {run.pk})"


def _next(sync: SyncStatus, now: datetime) -> str:
    paused = f"paused {sync.pause.in_words(now)}" if sync.pause else ""
    if sync.next_slot is None:
        return paused or ("switched off" if sync.planned else "")
    following = f"next {_when(sync.next_slot, now)} ({sync.next_slot:%Y-%m-%d %H:%M} UTC)"
    return "; ".join(filter(None, [paused, following]))


def _when(at: datetime, now: datetime) -> str:
    return f"in {format_duration(at - now)}" if at > now else "now"
