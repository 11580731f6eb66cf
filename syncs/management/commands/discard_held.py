from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from common.command import RainboCommand
from common.terminal import json_text, printable_line
from syncs.engine import held
from syncs.management.base import actor
from syncs.reports import run_report


class Command(RainboCommand):
    help = "Discard a held run. The next run evaluates the source again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=int, metavar="RUN", help="id of the held run")
        parser.add_argument(
            "--reason", required=True, help="why it is discarded (stored with the run)"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **given: Any) -> None:
        record = held.discard(given["run"], actor(), given["reason"])
        if given["json"]:
            self.stdout.write(json_text(run_report.document(record)))
        else:
            self.stdout.write(printable_line(held.describe_discarded(record, record.sync)))
