from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from alerts import queries
from alerts.models import Incident, Level, Mute
from common import clock
from common.command import RainboCommand
from common.terminal import json_text
from common.text import format_duration, truncate
from syncs.management.base import CommandOutput

MOST = 1_000


class Command(RainboCommand):
    help = "List incidents: what is wrong, since when, and who has taken it up."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--history",
            type=int,
            metavar="N",
            help="the last N incidents, resolved ones too; default: all that are open",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="exit with 1 if one is open and not muted, or alerts are not evaluated",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **given: Any) -> None:
        now = clock.database_now()
        muted = queries.mutes(now)
        incidents = queries.open_incidents()
        is_wrong = any(one.key not in muted for one in incidents)
        if (count := given["history"]) is not None:
            incidents = queries.last_incidents(min(max(count, 1), MOST))
        if given["json"]:
            documents = [queries.document(one, now, muted) for one in incidents]
            self.stdout.write(json_text({"incidents": documents}))
        else:
            output = CommandOutput(as_json=False, quiet=False)
            for incident in incidents:
                output.say(_line(incident, now, muted))
            if not incidents:
                output.say("No incident is open.")
        if warning := queries.evaluation_warning(now):
            self.stderr.write(warning)
        if given["check"] and (is_wrong or warning):
            sys.exit(1)


def _line(incident: Incident, now: Any, muted: Any) -> str:
    """`12  urgent  2 h  acknowledged by ann  An instance is down: …`"""
    mute: Mute | None = muted.get(incident.key)
    states = [Level(incident.level).label]
    states.append(format_duration((incident.resolved_at or now) - incident.since))
    states += ["resolved"] if incident.resolved_at else []
    states += [f"muted until {mute.until:%Y-%m-%d %H:%M} UTC"] if mute else []
    if incident.is_acknowledged(now):
        states.append(f"acknowledged by {incident.acknowledged_by}")
    if incident.cause_id:
        states.append(f"explained by {incident.cause_id}")
    words = truncate(incident.text, 300)
    return f"{incident.pk:>5}  {'  '.join(states)}  {incident.title}: {words}"
