"""The monitoring document: how each sync did over some hours, and what stands out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
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
    jobs = {name: [_execution(one) for one in recent[name]] for name in names}
    return {
        "stats": [
            *(_job(name, [found[name]]) for name in names),
            _job(INTEGRATIONS, [found[name] for name in services]),
        ],
        "alerts": [alert for name in names for alert in _alerts(found[name])],
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


def _alerts(of: Statistics) -> Iterator[dict[str, str]]:
    for kind, message in _warnings(of):
        yield {"jobName": of.sync, "type": kind, "message": f"{of.sync}: {message}"}


def _warnings(of: Statistics) -> Iterator[tuple[str, str]]:
    if of.executions >= JUDGED_FROM and of.failures > HIGH_FAILURE_RATE * of.executions:
        yield "high_failure_rate", f"{of.failures} of {of.executions} executions failed"
    if of.failures_in_a_row >= MANY_IN_A_ROW:
        yield "consecutive_failures", f"{of.failures_in_a_row} failures in a row"
    if of.average_seconds is not None and of.average_seconds > LONG_SECONDS:
        yield "long_duration", f"an execution takes {of.average_seconds:.0f} s on average"


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
