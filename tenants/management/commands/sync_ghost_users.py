from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from syncs.engine.options import Options
from tenants.ghosts.policy import parse_only
from tenants.management.base import InstanceSyncCommand


class Command(InstanceSyncCommand):
    help = "Create a ghost user for every admin on every instance, and deactivate those of leavers."
    syncs = ("ghost_users",)
    offers = frozenset({"accept_held", "failed_from"})

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--admin",
            nargs="+",
            action="extend",
            default=[],
            metavar="ID",
            help="only the ghost users of these admins (user ids); default: all",
        )

    def parse_options(self, given: dict[str, Any]) -> Options:
        parse_only(given["admin"])
        return replace(super().parse_options(given), only=tuple(given["admin"]))
