from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console

from common import clock
from common.terminal import json_text
from syncs.reports import status_report
from syncs.status import queries


class Command(BaseCommand):
    help = "Show how fresh each sync's data is on every instance, and why it is late."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="exit with 1 if anything is late, an instance is down, or a run is held or "
            "failing; print one line if all is well",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **options: Any) -> None:
        status = queries.status(clock.database_now())
        if options["json"]:
            self.stdout.write(json_text(status_report.document(status)))
        else:
            self._show(status, brief=options["check"])
        if options["check"] and status.needs_attention:
            sys.exit(1)

    def _show(self, status: queries.Status, *, brief: bool) -> None:
        console = Console(soft_wrap=True)
        if brief and not status.needs_attention:
            console.print(status_report.summary(status), highlight=False)
            return
        for line in status_report.lines(status, only_bad=brief):
            console.print(line)
