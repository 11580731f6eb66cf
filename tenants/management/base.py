"""The --rds option, shared by the fleet's commands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from syncs.engine.options import Options
from syncs.management.base import SyncCommand
from tenants.fleet.targets import check_ids


class InstanceSyncCommand(SyncCommand):
    """The command of a sync that runs on some or all instances."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_rds(parser)

    def parse_options(self, given: dict[str, Any]) -> Options:
        check_ids(given["rds"])
        return replace(super().parse_options(given), targets=tuple(map(str, given["rds"])))


def add_rds(parser: CommandParser) -> None:
    parser.add_argument(
        "--rds",
        type=int,
        nargs="+",
        action="extend",
        default=[],
        metavar="N",
        help="only these instances (ids); default: all active ones",
    )
