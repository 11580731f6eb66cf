from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandParser
from django.db import transaction

from activity.log import COMMAND_LINE, record_by
from common import manage_command
from common.command import RainboCommand
from common.errors import UsageError
from integrations import registration
from integrations.management import tokens
from integrations.plugin import Token
from integrations.registration import ConnectionInput


class Command(RainboCommand):
    help = "Connect an account at a service, by a token that was made there."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("service", help="the name of the service, such as github")
        parser.add_argument("name", help="what the connection is called")
        parser.add_argument("--owner", required=True, metavar="USER", help="whose account it is")
        parser.add_argument("--account", default="", help="who it is at the service")
        parser.add_argument(
            "--address", default="", metavar="URL", help="of its API; default: the service's own"
        )
        parser.add_argument(
            "--frequency", type=int, metavar="MINUTES", help="default: the service's own"
        )
        parser.add_argument("--shared", action="store_true", help="others may see its records, too")
        tokens.add_options(parser)

    def handle(self, *args: object, **given: Any) -> None:
        owner = User.objects.filter(username=given["owner"], is_active=True).first()
        if owner is None:
            raise UsageError(f"no active user is named {given['owner']!r}")
        auth = registration.find_service(given["service"]).auth
        is_optional = isinstance(auth, Token) and auth.is_optional
        with transaction.atomic():
            row = registration.add(
                ConnectionInput(
                    service=given["service"],
                    name=given["name"],
                    owner=owner,
                    token=tokens.read(given, is_optional=is_optional),
                    account=given["account"],
                    base_url=given["address"],
                    minutes=given["frequency"],
                    is_shared=given["shared"],
                )
            )
            after = {"service": row.service, "owner": owner.get_username(), "host": row.host}
            record_by(COMMAND_LINE, None, None, "connection.added", row, after=after)
        then = manage_command.line(f"integrations_fetch --connection {row.pk}")
        self.stdout.write(f"{row} is connected; it is fetched within a minute, or now by: {then}")
