from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from common.command import RainboCommand
from common.errors import UsageError
from common.terminal import json_text, printable_line
from syncs.engine import cancellation, lost_runs
from syncs.engine.cancellation import CancelOutcome
from syncs.management.base import actor
from syncs.models import SyncRun
from syncs.reports import run_report


class Command(RainboCommand):
    help = "Cancel a run: at once if it is queued, otherwise at its next safe point."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=int, metavar="RUN", help="id of the run")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **given: Any) -> None:
        record = SyncRun.objects.filter(pk=given["run"]).first()
        if record is None:
            raise UsageError(f"there is no run {given['run']}")
        outcome = cancellation.cancel(record, actor())
        lost_runs.wait_for_sessions()
        text = cancellation.describe(record, outcome, record.sync)
        if given["json"]:
            document = run_report.document(record) | {"answer": outcome, "words": text}
            self.stdout.write(json_text(document))
        else:
            (self.stderr if outcome is CancelOutcome.ENDED else self.stdout).write(
                printable_line(text)
            )
        if outcome is CancelOutcome.ENDED:
            sys.exit(run_report.FAILED)
