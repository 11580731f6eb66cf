from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from common.terminal import json_text
from syncs import hooks, tasks
from syncs.dispatch import due
from syncs.engine import lost_runs, registry, runs
from syncs.management.base import CommandOutput, interruptible
from syncs.models import RunState, SyncRun
from syncs.reports import run_report


class Command(BaseCommand):
    help = "Runs what is due once and exits: for crontab, and where no worker runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
        parser.add_argument("--quiet", action="store_true", help="silent unless something is wrong")

    def handle(self, **given: Any) -> None:
        if code := _run(CommandOutput(as_json=given["json"], quiet=given["quiet"])):
            sys.exit(code)


def _run(talk: CommandOutput) -> int:
    complaints: list[str] = []

    def execute(record: SyncRun) -> SyncRun:
        with talk.progress(registry.get(record.sync).title) as shown:
            record = runs.execute(record, shown)
        if not record.is_open and (record.state != RunState.SKIPPED or not talk.quiet):
            talk.close(record)
        return record

    try:
        with interruptible():
            tasks.housekeep("schedule_run")
            hooks.run_periodic()  # first: a long run delays nothing
            records = due.run_due(execute, complaints.append)
            lost_runs.wait_for_sessions()
    except KeyboardInterrupt:
        talk.complain("Interrupted: the run is closed as failed, and retried when its time comes.")
        return run_report.INTERRUPTED
    for complaint in complaints:
        talk.complain(complaint)
    if talk.as_json:
        document = {"runs": [run_report.document(record) for record in records]}
        sys.stdout.write(json_text(document) + "\n")
    elif not records and not talk.quiet:
        talk.say("Nothing was due.")
    return run_report.FAILED if complaints else _exit_code(records)


def _exit_code(records: list[SyncRun]) -> int:
    """A planned time that met a run under way is no failure: that run stands for it."""
    return run_report.exit_code([record for record in records if record.state != RunState.SKIPPED])
