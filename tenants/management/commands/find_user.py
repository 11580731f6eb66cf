from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from syncs.errors import RainboError, UsageError
from syncs.printable import printable, printable_line
from tenants import lookup_report
from tenants.live_lookup import Live, ask_master
from tenants.lookup import Lookup, find

UNASKED = 3


class Command(BaseCommand):
    help = "Tells all tenants and instances of an e-mail; exits 1 when there is none, and why."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--live", action="store_true", help="ask the master too and compare")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **options: Any) -> None:
        live, problem = None, ""
        try:
            found = find(options["email"].strip())
        except UsageError as error:
            raise CommandError(str(error), returncode=2) from error
        if options["live"]:
            try:
                live = ask_master(found)
            except RainboError as error:
                problem = f"The master can't be asked: {error}"
        self._show(found, live, problem, as_json=options["json"])
        if not (found.shown or (live and live.routes)):
            sys.exit(1)
        if problem:
            sys.exit(UNASKED)

    def _show(self, found: Lookup, live: Live | None, problem: str, *, as_json: bool) -> None:
        if as_json:
            document = lookup_report.document(found, live, problem)
            self.stdout.write(printable(json.dumps(document, indent=2, ensure_ascii=False)))
        else:
            for line in lookup_report.lines(found, live):
                self.stdout.write(line)
        if problem:
            self.stderr.write(printable_line(problem))
