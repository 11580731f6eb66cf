from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from common import manage_command
from common.clock import database_now
from common.command import RainboCommand
from common.terminal import json_text
from common.text import counted
from integrations import failures, reports, states


class Command(RainboCommand):
    help = "List the connections whose last fetch failed, and when each is tried again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: object, **given: Any) -> None:
        rows, now = list(failures.failed()), database_now()
        judged = states.judge(rows, now)
        if given["json"]:
            documents = [reports.document(row, judged[row.pk], now) for row in rows]
            sys.stdout.write(json_text({"now": now.isoformat(), "connections": documents}) + "\n")
            return
        for line in reports.lines(rows, judged, now):
            self.stdout.write(line)
        retry = f" To retry: {manage_command.line('queue_retry all')}" if rows else ""
        self.stdout.write(f"{counted(len(rows), 'connection')} failed.{retry}")
