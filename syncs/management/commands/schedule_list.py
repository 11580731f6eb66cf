from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from common import clock
from common.command import RainboCommand
from common.terminal import json_text
from syncs.reports import schedule_report
from syncs.status import queries


class Command(RainboCommand):
    help = "List schedules with frequency, last run, current run, next run and pauses."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **given: Any) -> None:
        status = queries.status(clock.database_now())
        if given["json"]:
            self.stdout.write(json_text(schedule_report.document(status)))
            return
        console = Console(soft_wrap=True)
        for line in schedule_report.lines(status):
            console.print(line)
