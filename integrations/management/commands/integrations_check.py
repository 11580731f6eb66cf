from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from django.core.management.base import CommandParser

from common.clock import database_now
from common.command import RainboCommand
from common.terminal import json_text
from common.text import counted
from integrations import registration, reports, states
from integrations.models import Connection


class Command(RainboCommand):
    help = "List connections: who is due, who is not, and why. Requests nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--service", metavar="NAME", help="only connections of this service")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: object, **given: Any) -> None:
        rows = Connection.objects.select_related("owner")
        if given["service"]:
            rows = rows.filter(service=registration.find_service(given["service"]).name)
        found, now = list(rows), database_now()
        judged = states.judge(found, now)
        if given["json"]:
            documents = [reports.document(row, judged[row.pk], now) for row in found]
            sys.stdout.write(json_text({"now": now.isoformat(), "connections": documents}) + "\n")
            return
        for line in reports.lines(found, judged, now):
            self.stdout.write(line)
        due = sum(one.is_due(now) for one in judged.values())
        counts = Counter(str(one.state) for one in judged.values())
        named = "".join(f"; {state}: {count}" for state, count in sorted(counts.items()))
        self.stdout.write(f"{counted(len(found), 'connection')}, {due} due{named}.")
