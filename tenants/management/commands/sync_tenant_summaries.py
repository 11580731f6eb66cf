from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from syncs.options import Options
from tenants.command import InstanceSyncCommand


class Command(InstanceSyncCommand):
    help = "Make the cached tenants, their status and counts, equal to the instances'."
    syncs = ("tenant_summaries",)
    offers = frozenset({"accept_held", "failed_from"})

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--force",
            action="store_true",
            help="also read instances that were confirmed less than half a period ago",
        )

    def options(self, given: dict[str, Any]) -> Options:
        return replace(super().options(given), force=given["force"])
