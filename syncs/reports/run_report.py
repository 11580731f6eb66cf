"""Reports of a run: as text, as a JSON document, and as an exit code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.urls import reverse

from common import manage_command
from common.clock import iso
from common.errors import UsageError
from common.text import without_subject
from syncs.engine import held, registry
from syncs.engine.options import Options
from syncs.engine.parts import waiting
from syncs.engine.registry import Sync
from syncs.models import RunState, RunTarget, SyncRun, TargetState

EXIT_CODES = {
    RunState.SUCCEEDED: 0,
    RunState.PARTIAL: 3,
    RunState.HELD: 3,
    RunState.SKIPPED: 75,
}
FAILED, USAGE, INTERRUPTED = 1, 2, 130
COUNTS = ("read", "added", "changed", "removed", "withheld")
PART = ("target", "label", "state", *COUNTS, "seconds", "note", "error")
PROPOSALS = {
    "added": "would add",
    "changed": "would change",
    "removed": "would remove",
    "withheld": "would withhold",
}
PLAIN = re.compile(r"[\w ,.:;()/+-]+")  # text that needs no escaping in any shell, nor in make
UNDONE = (TargetState.FAILED, TargetState.WAITING)


def exit_code(records: list[SyncRun]) -> int:
    """Return the most severe exit code: failed, then partial or held, then already running."""
    codes = {EXIT_CODES.get(RunState(record.state), FAILED) for record in records}
    return next((code for code in (FAILED, 3, 75) if code in codes), 0)


def describe(part: RunTarget) -> str:
    """Describe a target's outcome in one line; unknown counts are omitted."""
    proposed = part.run.is_dry or part.state == TargetState.HELD
    counts = [
        describe_count(name, count, proposed=proposed)
        for name in COUNTS
        if (count := getattr(part, name)) is not None
    ]
    texts = [f"{part.label}: {part.state}", *([", ".join(counts)] if counts else [])]
    if part.seconds is not None:
        texts[-1] += f" in {part.seconds:.1f} s"
    error = without_subject(part.error, part.label)
    return "; ".join(filter(None, [*texts, part.note, error]))


def describe_count(name: str, count: int, *, proposed: bool) -> str:
    """Format a count. proposed: nothing was written, as the run was dry or held."""
    return f"{PROPOSALS.get(name, name) if proposed else name} {count:,}"


def closing(record: SyncRun, sync: Sync, options: Options | None = None) -> list[str]:
    """Return the closing lines: the result, the run's id, and what to do next.

    options: the run's, when the caller has them; else those stored are parsed if they are needed.
    """
    dry = " (dry run: nothing was written)" if record.options.get("dry_run") else ""
    took = f" in {record.seconds:.1f} s" if record.seconds is not None else ""
    why = f": {record.error or _nothing_due(record)}".removesuffix(": ")
    retry = retry_command(record, sync, options)
    accept = accept_command(record, sync)
    return [
        *(_held_lines(record, accept) if accept else []),
        f"{record.sync} {record.state}{took}{dry}{why}. Run {record.pk}."
        + (f" To retry what failed: {retry}" if retry else ""),
    ]


def retry_options(
    record: SyncRun,
    sync: Sync | None = None,
    options: Options | None = None,
    *,
    undone: bool | None = None,
) -> Options | None:
    """Return the options that retry what failed in a run; None if nothing failed.

    sync, options and undone (whether targets failed): the run's, when the caller has them already.
    """
    sync = sync or registry.get(record.sync)
    if undone is None:
        undone = record.targets.filter(state__in=UNDONE).exists()
    undone = undone or TargetState.FAILED in record.counts_rolled_up
    if record.is_open or not (undone or record.state in (RunState.FAILED, RunState.LOST)):
        return None
    options = _options_again(record, options)
    if TargetState.FAILED in record.counts_rolled_up:  # some are not listed
        return options
    if sync.in_parts and undone:
        return replace(options, targets=(), failed_from=record.pk)
    return options


def retry_command(
    record: SyncRun,
    sync: Sync | None = None,
    options: Options | None = None,
    *,
    undone: bool | None = None,
) -> str:
    """Return the command that retries what failed; empty if nothing failed."""
    sync = sync or registry.get(record.sync)
    retry = retry_options(record, sync, options, undone=undone)
    return command_line(sync, retry) if retry else ""


def repeat_command(record: SyncRun) -> str:
    """Return the command that repeats the run."""
    return command_line(registry.get(record.sync), _options_again(record))


def command_line(sync: Sync, options: Options) -> str:
    return manage_command.line(" ".join([sync.command, *_arguments(sync, options)]))


def _options_again(record: SyncRun, options: Options | None = None) -> Options:
    """Return the run's options, without an acceptance that can no longer be used."""
    try:
        options = options or Options.from_json(record.options)
    except (UsageError, TypeError):
        return Options()  # stored by another version
    if options.accept_held is not None and not _is_acceptable(options.accept_held):
        return replace(options, accept_held=None, reason="")
    return options


def _arguments(sync: Sync, options: Options) -> Iterator[str]:
    """Yield the options as command line arguments."""
    if sync.in_parts:
        yield from _argument(sync.part_flag, options.targets)
        yield from _argument("--failed-from", options.failed_from)
    for name, flag in sync.flags.items():
        yield from _argument(flag, getattr(options, name))
    if options.accept_held is not None:
        reason = options.reason if PLAIN.fullmatch(options.reason) else "…"
        yield f"--accept-held {options.accept_held} --reason '{reason}'"
    yield from _argument("--dry-run", options.dry_run)


def _argument(flag: str, value: bool | int | str | Sequence[str] | None) -> Iterator[str]:
    if value is True:
        yield flag
    elif value and isinstance(value, int | str):
        yield f"{flag} {shlex.quote(str(value))}"
    elif value and not isinstance(value, int):
        yield f"{flag} {shlex.join(map(str, value))}"


def _is_acceptable(held_run: int) -> bool:
    """Whether what that run holds can still be accepted."""
    named = SyncRun.objects.filter(pk=held_run).first()
    return named is not None and not held.why_not_acceptable(named)


def accept_command(record: SyncRun, sync: Sync | None = None) -> str:
    if held.why_not_acceptable(record):
        return ""
    sync = sync or registry.get(record.sync)
    return command_line(sync, Options(accept_held=record.pk, reason="…"))


def discard_command(record: SyncRun) -> str:
    if held.why_not_acceptable(record):
        return ""
    return manage_command.line(f"discard_held {record.pk} --reason '…'")


def page(record: SyncRun) -> str:
    """Return the path of the run's page in the console."""
    return reverse("admin:syncs_syncrun_change", args=[record.pk])


def _held_lines(record: SyncRun, accept: str) -> list[str]:
    return [
        f"Held changes are listed in the console: {page(record)}",
        f"To accept them after review: {accept}",
        f"To discard them: {discard_command(record)}",
    ]


def _nothing_due(record: SyncRun) -> str:
    states = {part.state for part in record.targets.all()}
    return "nothing was due" if states == {TargetState.SKIPPED} else ""


def document(
    record: SyncRun, sync: Sync | None = None, options: Options | None = None
) -> dict[str, Any]:
    """Return the run as a JSON document: times in ISO 8601, unknown counts as null.

    sync and options: the run's, when the caller has them already.
    """
    sync = sync or registry.get(record.sync)
    parts = [*record.targets.values(*PART)]  # without models: some runs have a thousand
    known = {part["target"] for part in parts}
    parts += [{name: getattr(one, name) for name in PART} for one in waiting(record, known)]
    states = {part["state"] for part in parts}
    holds = TargetState.HELD in states
    return summary_document(record) | {
        "targets": parts,
        "rolled_up": {state: sums["parts"] for state, sums in record.counts_rolled_up.items()},
        "retry": retry_command(record, sync, options, undone=not states.isdisjoint(UNDONE)),
        "accept": accept_command(record, sync) if holds else "",
        "discard": discard_command(record) if holds else "",
    }


def summary_document(record: SyncRun) -> dict[str, Any]:
    """Return what a list of runs has of each: all of the document that needs no other row."""
    return {
        "run": record.pk,
        "sync": record.sync,
        "state": record.state,
        "trigger": record.trigger,
        "actor": record.actor,
        "options": record.options,
        "slot": iso(record.slot),
        "attempt": record.attempt,
        "not_before": iso(record.not_before),
        "cancel_requested_at": iso(record.cancel_requested_at),
        "created_at": iso(record.created_at),
        "started_at": iso(record.started_at),
        "finished_at": iso(record.finished_at),
        "seconds": record.seconds,
        "error": record.error,
        "met_run": record.met_id,
        "discarded": _discarded(record),
    }


def _discarded(record: SyncRun) -> dict[str, Any] | None:
    if record.discarded_at is None:
        return None
    return {
        "at": record.discarded_at.isoformat(),
        "by": record.discarded_by,
        "reason": record.discard_reason,
    }
