from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from activity.log import record_by
from alerts import actions
from alerts.management.base import IncidentCommand, until
from alerts.models import Incident
from syncs.management.base import actor


class Command(IncidentCommand):
    help = "Acknowledge an incident: no reminder is sent while it stays open."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--for",
            dest="length",
            metavar="TIME",
            help="reminders come again after this time (30min, 4h, 7d); default: never",
        )

    def act(self, given: dict[str, Any]) -> tuple[Incident, str]:
        end = until(given["length"]) if given["length"] else None
        incident = actions.acknowledge(given["incident"], actor(), end)
        record_by(actor(), None, None, "incident.acknowledged", incident, after={"until": end})
        more = f" until {end:%Y-%m-%d %H:%M} UTC" if end else ""
        return incident, f"Incident {incident.pk} is acknowledged{more}."
