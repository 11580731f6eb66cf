from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from common.command import RainboCommand
from common.errors import UsageError
from common.text import counted
from integrations import failures, registration
from integrations.models.connection import parse_key


class Command(RainboCommand):
    help = "Have failed connections fetched at the next look, without waiting for their retry."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", help="`all`, or the id of one")

    def handle(self, *args: object, **given: Any) -> None:
        wanted = given["connection"]
        rows = list(failures.failed())
        if wanted != "all":
            if (pk := parse_key(wanted)) is None:
                raise UsageError(f"{wanted[:100]!r} is neither `all` nor an id of a connection")
            rows = [registration.find(pk)]
            if rows[0].reconnect_since is not None:
                raise UsageError(f"{rows[0]} needs to be connected again: integration_reconnect")
        count = failures.retry(rows)
        self.stdout.write(f"{counted(count, 'connection')} will be fetched at the next look.")
