"""Reports of the status of all syncs: as text and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.text import Text

from common.clock import iso
from common.terminal import printable_line
from common.text import counted, format_duration, sentence, without_subject
from syncs.schedules.store import Planned
from syncs.status import sync_problems
from syncs.status.freshness import Reason, State
from syncs.status.problems import Problem
from syncs.status.queries import Status, SyncStatus, TargetStatus
from syncs.status.recent import LastRun, Running

COLOURS = {
    State.ON_TIME: "green",
    State.LATE: "yellow",
    State.STALE: "red",
    State.UNKNOWN: "magenta",
}
STATE_WIDTH = max(len(state.label) for state in State)


def lines(
    status: Status, problems: Sequence[Problem] = (), *, only_bad: bool = False
) -> Iterator[Text]:
    """Yield a line per sync and instance, the problems, one for the workers, and the summary."""
    width = max((len(t.label) for sync in status.syncs for t in sync.targets), default=0)
    for sync in status.syncs:
        if only_bad and not (sync.state.is_bad or any(map(_needs_attention, sync.targets))):
            continue
        yield _sync_line(sync, status.now)
        for target in sync.targets:
            if _needs_attention(target) or not only_bad:
                yield _target_line(target, width)
        if not sync.targets and sync.reason:
            yield Text(f"  {printable_line(str(sync.reason))}")
    yield Text(_worker(status))
    if problems:
        yield Text(f"{counted(len(problems), 'problem')}, the most severe first:", style="bold")
    for problem in problems:
        yield Text(f"  {problem.word}: {printable_line(problem.text)}")
    yield Text(summary(status, problems))


def summary(status: Status, problems: Sequence[Problem] = ()) -> str:
    """Summarize the status in one line."""
    found = [target for sync in status.syncs for target in sync.targets]
    bad = sum(target.freshness.state.is_bad for target in found)
    empty = [sync.title for sync in status.syncs if not sync.targets]
    if bad:
        return f"{bad} of {len(found)} are {State.LATE.label} or worse."
    if empty:
        return f"No data yet for: {', '.join(empty)}."
    if problems:
        more = f" (and {counted(len(problems) - 1, 'other problem')})" if problems[1:] else ""
        words = f"{printable_line(problems[0].text)}{more}"
        is_calm = sync_problems.is_calm(status, problems)
        return sentence(f"all is on time, but {words}" if is_calm else words)
    return f"All is on time: {len(status.syncs)} syncs, {len(found)} confirmations."


def _needs_attention(target: TargetStatus) -> bool:
    return target.is_severe or target.freshness.state.is_bad


def document(status: Status, problems: Sequence[Problem] = ()) -> dict[str, Any]:
    """Return the status as a JSON document: times in ISO 8601, ages in seconds, unknown as null."""
    return {
        "now": status.now.isoformat(),
        "state": status.state,
        "summary": summary(status, problems),
        "problems": [problem.document() for problem in problems],
        "worker": {"last_heartbeat": iso(status.heartbeat), "silent": status.worker_silent},
        "syncs": [sync_document(sync, status.now) for sync in status.syncs],
    }


def _sync_line(sync: SyncStatus, now: datetime) -> Text:
    parts = [_last_run(sync.last_run, now), _running(sync.running, now), _planned(sync, now)]
    line = Text(f"{sync.title} ({sync.name}): ", style="bold")
    line.append(sync.state.label, COLOURS[sync.state])
    line.append("; " + "; ".join(filter(None, parts)), "not bold")
    return line


def _target_line(target: TargetStatus, width: int) -> Text:
    state, age = target.freshness.state, target.freshness.age
    line = Text(f"  {printable_line(target.label):<{width}}  ")
    line.append(f"{state.label:<{STATE_WIDTH}}", COLOURS[state])
    line.append(f"  {'never' if age is None else format_duration(age) + ' old':<14}")
    if target.reason:
        reason = without_subject(str(target.reason), target.label)
        line.append(f"  {printable_line(reason)}")
    line.rstrip()
    return line


def _last_run(run: LastRun | None, now: datetime) -> str:
    if run is None:
        return "never run"
    ago = f" {format_duration(now - run.finished_at)} ago" if run.finished_at else ""
    took = f" in {run.seconds:.1f} s" if run.seconds is not None else ""
    return f"run {run.pk} {run.state}{ago}{took}"


def _running(run: Running | None, now: datetime) -> str:
    if run is None:
        return ""
    state = "running for" if run.is_live else "unresponsive, started"
    return f"run {run.pk} {state} {format_duration(max(now - run.started_at, timedelta()))}"


def _planned(sync: SyncStatus, now: datetime) -> str:
    if sync.pause is not None:
        return printable_line(f"paused {sync.pause.in_words(now)}")
    if sync.next_slot is not None:
        wait = sync.next_slot - now
        when = f"in {format_duration(wait)}" if wait > timedelta() else "now"
        return f"next {when} ({sync.next_slot:%H:%M} UTC)"
    if not sync.has_schedule:
        return f"each {sync.noun} by its own frequency"
    return "switched off" if sync.planned else "no schedule"


def _worker(status: Status) -> str:
    if status.heartbeat is None:
        return "Workers: none has ever reported"
    ago = format_duration(max(status.now - status.heartbeat, timedelta()))
    state = "no heartbeat: " if status.worker_silent else ""
    return f"Workers or schedule_run: {state}last heartbeat {ago} ago"


def sync_document(sync: SyncStatus, now: datetime) -> dict[str, Any]:
    """Return one sync's part of the document."""
    return {
        "sync": sync.name,
        "title": sync.title,
        "state": sync.state,
        "reason": _reason(sync.reason),
        "schedules": [_schedule_document(plan, now) for plan in sync.planned],
        "next_slot": iso(sync.next_slot),
        "usual_seconds": sync.usual_seconds,
        "last_run": sync.last_run and sync.last_run.document(),
        "running": sync.running and sync.running.document(),
        "targets": [_target_document(target) for target in sync.targets],
    }


def _schedule_document(plan: Planned, now: datetime) -> dict[str, Any]:
    pause = plan.paused(now)
    return {
        "cron": plan.cron,
        "off": plan.off,
        "paused_until": iso(pause.until) if pause else None,
        "pause_reason": pause.reason if pause else "",
    }


def _target_document(target: TargetStatus) -> dict[str, Any]:
    judged = target.freshness
    return {
        "target": target.key,
        "label": target.label,
        "state": judged.state,
        "confirmed_at": iso(target.confirmed_at),
        "age_seconds": None if judged.age is None else round(judged.age.total_seconds(), 3),
        "late_at": iso(judged.late_at),
        "stale_at": iso(judged.stale_at),
        "reason": _reason(target.reason),
    }


def _reason(reason: Reason | None) -> dict[str, str] | None:
    return None if reason is None else {"cause": reason.cause, "words": reason.words}
