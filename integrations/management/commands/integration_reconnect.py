from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from activity.log import COMMAND_LINE, record_by
from common.command import RainboCommand
from integrations import registration
from integrations.management import tokens


class Command(RainboCommand):
    help = "Connect an account again, with a new token; it is fetched at the next look."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", type=int, help="its id; integrations_check lists them")
        parser.add_argument(
            "--address", metavar="URL", help="fetch it from another one from now on"
        )
        tokens.add_options(parser)

    def handle(self, *args: object, **given: Any) -> None:
        row = registration.find(given["connection"])
        token = tokens.read(given)
        before = {"base_url": row.base_url}
        with transaction.atomic():
            if given["address"] is None:
                registration.reconnect(row, token)
            else:
                registration.move(row, given["address"], token)
            after = {"base_url": row.base_url}
            changes = {"before": before, "after": after} if before != after else {}
            record_by(COMMAND_LINE, None, None, "connection.reconnected", row, **changes)
        self.stdout.write(f"{row} is connected again; it is fetched within a minute.")
