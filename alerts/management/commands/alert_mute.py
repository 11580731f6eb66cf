from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from activity.log import record_by
from alerts import actions
from alerts.management.base import IncidentCommand, until
from alerts.models import Incident
from common.errors import UsageError
from syncs.management.base import actor


class Command(IncidentCommand):
    help = "Mute an incident: nothing is sent about its problem until the mute ends by itself."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--for", dest="length", metavar="TIME", help="how long: 30min, 4h, 7d; up to a year"
        )
        parser.add_argument("--reason", default="", help="why (shown to others)")
        parser.add_argument("--end", action="store_true", help="end the mute now")

    def act(self, given: dict[str, Any]) -> tuple[Incident, str]:
        pk, who = given["incident"], actor()
        if given["end"]:
            incident = actions.unmute(pk, who)
            record_by(who, None, None, "incident.unmuted", incident)
            return incident, f"The mute of incident {pk} has ended."
        if not given["length"]:
            raise UsageError("say how long with --for (30min, 4h, 7d), or end a mute with --end")
        end = until(given["length"])
        incident = actions.mute(pk, who, end, given["reason"])
        after = {"until": end, "reason": given["reason"]}
        record_by(who, None, None, "incident.muted", incident, after=after)
        return incident, f"Incident {pk} is muted until {end:%Y-%m-%d %H:%M} UTC."
