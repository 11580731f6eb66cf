"""Common parts of the commands about incidents: options, times, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from alerts import queries
from alerts.models import Incident
from common import clock
from common.command import RainboCommand
from common.errors import UsageError
from common.terminal import json_text
from common.text import parse_length
from syncs.management.base import CommandOutput
from syncs.reports import run_report


class IncidentCommand(RainboCommand):
    """Does one thing about one incident; exits with 2 if it can't be done."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("incident", type=int, help="its number, as alert_list shows it")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **given: Any) -> None:
        output = CommandOutput(as_json=given["json"], quiet=False)
        try:
            with transaction.atomic():  # what is done and its record, or neither
                incident, words = self.act(given)
        except UsageError as error:
            output.show_error(f"{error}.")
            sys.exit(run_report.USAGE)
        if given["json"]:
            document = queries.documents([incident], clock.database_now())[0]
            self.stdout.write(json_text(document))
        else:
            output.say(words)

    def act(self, given: dict[str, Any]) -> tuple[Incident, str]:
        """Return the incident and what was done. Raises UsageError."""
        raise NotImplementedError


def until(text: str, now: Callable[[], datetime] = clock.database_now) -> datetime:
    """The time after that length, by the database's clock."""
    return now() + parse_length(text)
