from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from syncs import specs
from syncs.command import SyncCommand
from syncs.options import Options


class Command(SyncCommand):
    help = "Run every sync in the order in which they depend on each other."
    syncs = tuple(sync.name for sync in specs.all_syncs())

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--force",
            action="store_true",
            help="also read tenants that were confirmed less than half a period ago",
        )

    def options(self, given: dict[str, Any]) -> Options:
        return replace(super().options(given), force=given["force"])
