from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from common import clock
from common.command import RainboCommand
from common.terminal import json_text
from syncs.reports import status_report
from syncs.status import problems
from syncs.status.problems import Problem
from syncs.status.queries import Status
from syncs.status.sync_problems import SYNCS, needs_attention


class Command(RainboCommand):
    help = "Show how fresh the data of every sync and instance is, and every problem."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="exit with 1 if anything is late or not as it should be, an instance is down, "
            "or a run is held or failing; print one line if all is well",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **options: Any) -> None:
        facts = problems.read(clock.database_now())
        status, found = facts.get(SYNCS).status, problems.judge(facts)
        if options["json"]:
            self.stdout.write(json_text(status_report.document(status, found)))
        else:
            self._show(status, found, brief=options["check"])
        if options["check"] and needs_attention(status, found):
            sys.exit(1)

    def _show(self, status: Status, found: Sequence[Problem], *, brief: bool) -> None:
        console = Console(soft_wrap=True)
        if brief and not needs_attention(status, found):
            console.print(status_report.summary(status, found), highlight=False)
            return
        for line in status_report.lines(status, found, only_bad=brief):
            console.print(line)
