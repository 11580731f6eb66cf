from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common import clock
from common.command import RainboCommand
from common.errors import UsageError
from common.later import later
from common.terminal import printable, printable_line
from tenants.find import report
from tenants.find.live_answers import LIMIT, LiveLookup
from tenants.find.search import Found, search

INCOMPLETE = 3
LONGEST = 300  # seconds

_ask = later("tenants.find.live_lookup.ask")


class Command(RainboCommand):
    help = "Show all tenants and instances of an e-mail. Exits with 1 if none is found."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "email", help="an e-mail or its beginning, a user or tenant name, or an id"
        )
        parser.add_argument(
            "--live",
            action="store_true",
            help="also query the master and the instances, and compare",
        )
        parser.add_argument(
            "--within",
            type=_seconds,
            default=LIMIT,
            metavar="SECONDS",
            help="time limit for --live; default: %(default)g",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **options: Any) -> None:
        try:
            found = search(options["email"])
        except UsageError as error:
            raise CommandError(str(error), returncode=2) from error
        live = _ask(found.exact, options["within"]) if options["live"] else None
        self._show(found, live, as_json=options["json"])
        if not (found.exact.shown or (live and live.is_found)):
            sys.exit(1)
        if live and live.problems:
            sys.exit(INCOMPLETE)

    def _show(self, found: Found, live: LiveLookup | None, *, as_json: bool) -> None:
        if as_json:
            document = report.document(found, live)
            self.stdout.write(printable(json.dumps(document, indent=2, ensure_ascii=False)))
        else:
            for line in report.lines(found, live, clock.database_now()):
                self.stdout.write(line)
        for problem in live.problems if live else ():
            self.stderr.write(printable_line(problem))


def _seconds(text: str) -> float:
    """Parse a time limit that a person would wait for."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= LONGEST:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to {LONGEST}")
    return seconds
