"""The monitoring document: how each sync did over some hours, and what stands out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from api.doors.services import PROVIDERS
from syncs.engine import registry
from syncs.models import RunState
from syncs.status import statistics
from syncs.status.statistics import RECENT, Execution, Statistics, Window

INTEGRATIONS = "sync-integrations"  # the job that sums the services
STATUS = {
    RunState.SUCCEEDED: "success",
    RunState.FAILED: "failed",
    RunState.LOST: "failed",
}  # others as they are called here: partial, held
HIGH_FAILURE_RATE, JUDGED_FROM = 0.5, 5  # executions
MANY_IN_A_ROW = 3
LONG_SECONDS = 5 * 60


def document(window: Window) -> dict[str, Any]:
    """Return the statistics, what stands out and the last executions of each job."""
    names = [sync.name for sync in registry.all_syncs()]
    found = statistics.statistics(names, window)
    recent = statistics.recent_executions(names, window)
    services = [name for name in names if name in PROVIDERS]
    together = [execution for name in services for execution in recent[name]]
    together.sort(key=lambda execution: execution.finished_at, reverse=True)
    alerts = [
        alert
        for name in names
        for alert in _alerts(name, [found[name]], found[name].failures_in_a_row)
    ]
    if services:
        summed = [found[name] for name in services]
        alerts += _alerts(INTEGRATIONS, summed, _streak_together(services, window))
    jobs = {name: [_execution(one) for one in recent[name]] for name in names}
    return {
        "stats": [
            *(_job(name, [found[name]]) for name in names),
            _job(INTEGRATIONS, [found[name] for name in services]),
        ],
        "alerts": alerts,
        "recentExecutions": jobs | {INTEGRATIONS: [_execution(one) for one in together[:RECENT]]},
        "timeRange": {"hours": window.hours, "since": _time(window.since)},
    }


def _job(name: str, of: Sequence[Statistics]) -> dict[str, Any]:
    """What is unknown, such as the rate of nothing, is null."""
    executions, successes = sum(s.executions for s in of), sum(s.successes for s in of)
    seconds, timed = sum(s.total_seconds or 0 for s in of), sum(s.timed for s in of)
    ended = [(s.last_at, s.last_state) for s in of if s.last_at and s.last_state]
    last_at, last_state = max(ended, default=(None, None))
    return {
        "jobName": name,
        "totalExecutions": executions,
        "successCount": successes,
        "failureCount": sum(s.failures for s in of),
        "successRate": round(successes / executions, 3) if executions else None,
        "averageDuration": round(1000 * seconds / timed) if timed else None,
        "lastExecution": _time(last_at),
        "lastStatus": _status(last_state),
        "recentFailures": sum(s.recent_failures for s in of),
    }


def _alerts(job: str, of: Sequence[Statistics], streak: int) -> Iterator[dict[str, str]]:
    """streak: failures in a row up to the window's end."""
    for kind, message in _warnings(of, streak):
        yield {"jobName": job, "type": kind, "message": f"{job}: {message}"}


def _warnings(of: Sequence[Statistics], streak: int) -> Iterator[tuple[str, str]]:
    executions, failures = sum(s.executions for s in of), sum(s.failures for s in of)
    seconds, timed = sum(s.total_seconds or 0 for s in of), sum(s.timed for s in of)
    if executions >= JUDGED_FROM and failures > HIGH_FAILURE_RATE * executions:
        yield "high_failure_rate", f"{failures} of {executions} executions failed"
    if streak >= MANY_IN_A_ROW:
        yield "consecutive_failures", f"{streak} failures in a row"
    if timed and seconds / timed > LONG_SECONDS:
        yield "long_duration", f"an execution takes {seconds / timed:.0f} s on average"


def _streak_together(services: Sequence[str], window: Window) -> int:
    """Count failures in a row over all services, whatever the window; up to STREAK."""
    ever = Window(datetime.min.replace(tzinfo=UTC), window.until)
    found = statistics.recent_executions(services, ever, statistics.STREAK)
    newest = sorted(
        (one for of_one in found.values() for one in of_one),
        key=lambda execution: execution.finished_at,
        reverse=True,
    )
    return sum(1 for _ in takewhile(lambda one: STATUS.get(one.state) == "failed", newest))


def _execution(one: Execution) -> dict[str, Any]:
    return {
        "runId": one.run,
        "status": _status(one.state),
        "trigger": one.trigger,
        "startedAt": _time(one.started_at),
        "completedAt": _time(one.finished_at),
        "durationMs": None if one.seconds is None else round(one.seconds * 1000),
        "error": one.error or None,
    }


def _status(state: RunState | None) -> str | None:
    return STATUS.get(state, str(state)) if state else None


def _time(at: datetime | None) -> str | None:
    """As the document has always had it: whole seconds, with Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None
