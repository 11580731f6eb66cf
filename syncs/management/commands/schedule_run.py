from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from common.command import RainboCommand
from common.terminal import json_text
from syncs import hooks, tasks
from syncs.dispatch import due
from syncs.engine import lost_runs, registry, runs
from syncs.management.base import CommandOutput, interruptible
from syncs.models import RunState, SyncRun
from syncs.reports import run_report


class Command(RainboCommand):
    help = "Run everything that is due once and exit; for cron, or where no worker runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
        parser.add_argument(
            "--quiet", action="store_true", help="no output unless something is wrong"
        )

    def handle(self, **given: Any) -> None:
        if code := _run(CommandOutput(as_json=given["json"], quiet=given["quiet"])):
            sys.exit(code)


def _run(output: CommandOutput) -> int:
    problems: list[str] = []

    def execute(record: SyncRun) -> SyncRun:
        sync = registry.get(record.sync)
        with output.progress(sync.title) as shown:
            record = runs.execute(record, shown, sync=sync)
        if not record.is_open and (record.state != RunState.SKIPPED or not output.quiet):
            output.close(record, sync)
        return record

    try:
        with interruptible():
            tasks.housekeep("schedule_run")
            hooks.run_periodic()  # first: a long run delays nothing
            records = due.run_due(execute, problems.append)
            lost_runs.wait_for_sessions()
    except KeyboardInterrupt:
        output.show_error("Interrupted: the run is closed as failed and is retried when due.")
        return run_report.INTERRUPTED
    for problem in problems:
        output.show_error(problem)
    if output.as_json:
        document = {"runs": [run_report.document(record) for record in records]}
        sys.stdout.write(json_text(document) + "\n")
    elif not records and not output.quiet:
        output.say("Nothing was due.")
    return run_report.FAILED if problems else _exit_code(records)


def _exit_code(records: list[SyncRun]) -> int:
    """Return the exit code; a scheduled time skipped for a running run is no failure."""
    return run_report.exit_code([record for record in records if record.state != RunState.SKIPPED])
