from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from common.errors import UsageError
from common.terminal import json_text, printable_line
from syncs.engine import cancellation
from syncs.engine.cancellation import CancelOutcome
from syncs.management.base import actor
from syncs.models import SyncRun
from syncs.reports import run_report


class Command(BaseCommand):
    help = "Ends a run: at once while it waits, else at its next safe point."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=int, metavar="RUN", help="the run's number")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **given: Any) -> None:
        record = SyncRun.objects.filter(pk=given["run"]).first()
        if record is None:
            raise UsageError(f"there is no run {given['run']}")
        answer = cancellation.cancel(record, actor())
        words = cancellation.describe(record, answer)
        if given["json"]:
            document = run_report.document(record) | {"answer": answer, "words": words}
            self.stdout.write(json_text(document))
        else:
            (self.stderr if answer is CancelOutcome.ENDED else self.stdout).write(
                printable_line(words)
            )
        if answer is CancelOutcome.ENDED:
            sys.exit(run_report.FAILED)
