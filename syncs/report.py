"""A run in words, as a document, and as an exit code."""

from __future__ import annotations

from typing import Any

from syncs import held, specs
from syncs.models import RunState, RunTarget, SyncRun, TargetState

EXIT_CODES = {
    RunState.SUCCEEDED: 0,
    RunState.PARTIAL: 3,
    RunState.HELD: 3,
    RunState.SKIPPED: 75,
}
FAILED, USAGE, INTERRUPTED = 1, 2, 130
COUNTS = ("read", "added", "changed", "removed", "withheld")


def exit_code(records: list[SyncRun]) -> int:
    """The gravest of the runs' codes: failed, then partial or held, then already running."""
    codes = {EXIT_CODES.get(RunState(record.state), FAILED) for record in records}
    return next((code for code in (FAILED, 3, 75) if code in codes), 0)


def describe(part: RunTarget) -> str:
    """One target's outcome in a line; counts that are unknown are left out."""
    counts = [f"{name} {count:,}" for name in COUNTS if (count := getattr(part, name)) is not None]
    words = [f"{part.label}: {part.state}", *([", ".join(counts)] if counts else [])]
    if part.seconds is not None:
        words[-1] += f" in {part.seconds:.1f} s"
    return "; ".join(filter(None, [*words, part.note, part.error]))


def closing(record: SyncRun) -> list[str]:
    """What a person needs at the end: how it went, the run's id, and what to do next."""
    dry = " (dry run: nothing was written)" if record.options.get("dry_run") else ""
    took = f" in {record.seconds:.1f} s" if record.seconds is not None else ""
    why = f": {record.error}" if record.error else ""
    retry = retry_command(record)
    accept = accept_command(record)
    return [
        *([f"To accept what is held, after looking at it: {accept}"] if accept else []),
        f"{record.sync} {record.state}{took}{dry}{why}. Run {record.pk}."
        + (f" To retry what failed: {retry}" if retry else ""),
    ]


def retry_command(record: SyncRun) -> str:
    """The command that takes up what failed; empty when nothing did."""
    command = specs.get(record.sync).command
    states = {part.state for part in record.targets.all()}
    if TargetState.SUCCEEDED in states and states & {TargetState.FAILED, TargetState.WAITING}:
        return f"python manage.py {command} --failed-from {record.pk}"
    if record.state in (RunState.FAILED, RunState.LOST, RunState.PARTIAL):
        return f"python manage.py {command}"
    return ""


def accept_command(record: SyncRun) -> str:
    if record.options.get("dry_run") or held.why_not_acceptable(record):
        return ""
    command = specs.get(record.sync).command
    return f"python manage.py {command} --accept-held {record.pk} --reason '…'"


def document(record: SyncRun) -> dict[str, Any]:
    """The run for programs: times in ISO 8601, unknown counts as null."""
    return {
        "run": record.pk,
        "sync": record.sync,
        "state": record.state,
        "trigger": record.trigger,
        "actor": record.actor,
        "options": record.options,
        "slot": record.slot and record.slot.isoformat(),
        "started_at": record.started_at and record.started_at.isoformat(),
        "finished_at": record.finished_at and record.finished_at.isoformat(),
        "seconds": record.seconds,
        "error": record.error,
        "met_run": record.met_id,
        "targets": [_part(part) for part in record.targets.all()],
        "retry": retry_command(record),
        "accept": accept_command(record),
    }


def _part(part: RunTarget) -> dict[str, Any]:
    fields = ("target", "label", "state", *COUNTS, "seconds", "note", "error")
    return {name: getattr(part, name) for name in fields}
