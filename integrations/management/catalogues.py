"""What sync_models and sync_pricing share: fetching catalogues, and verifying what is there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from django.core.management.base import CommandParser

from common.errors import UsageError
from common.terminal import json_text
from integrations.management.commands.integrations_fetch import parse_ids
from integrations.model_queries import SERVICE
from integrations.models import Connection
from integrations.models.connection import KEY
from integrations.verification import Verified
from syncs.engine.options import Options
from syncs.management.base import CommandOutput, SyncCommand
from syncs.reports import run_report

VERIFY = "verify"


class CatalogueCommand(SyncCommand):
    """Subclasses say what is counted."""

    syncs = (SERVICE,)
    offers = frozenset({"failed_from", "accept_held"})
    force = "whatever their frequency is, and though nothing seems to have changed"

    def verify(self, minimum: int) -> Verified:
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "action",
            nargs="?",
            choices=[VERIFY],
            help="fetch nothing: exit with 1 if there are fewer than --minimum",
        )
        parser.add_argument(
            "--minimum", type=int, metavar="N", help=f"how many there should be; for {VERIFY}"
        )
        parser.add_argument(
            "--catalogue",
            nargs="+",
            action="extend",
            default=[],
            metavar="N",
            help="only these catalogues (ids of their connections), whatever their frequency",
        )

    def run_syncs(self, given: dict[str, Any]) -> int:
        if given["action"] is None and given["minimum"] is None:
            return super().run_syncs(given)
        output = CommandOutput(as_json=given["json"], quiet=given["quiet"])
        if given["action"] is None or given["minimum"] is None or given["minimum"] < 1:
            output.show_error(f"Give both: {VERIFY} --minimum N, of at least 1")
            return run_report.USAGE
        found = self.verify(given["minimum"])
        if given["json"]:
            sys.stdout.write(json_text(asdict(found) | {"enough": found.is_enough}) + "\n")
        if not found.is_enough:
            output.show_error(found.sentence)
        elif not given["json"] and not given["quiet"]:
            output.say(found.sentence)
        return 0 if found.is_enough else run_report.FAILED

    def select_syncs(self, given: dict[str, Any]) -> Sequence[str]:  # noqa: ARG002
        if not Connection.objects.filter(service=SERVICE).exists():
            raise UsageError(f"there is no catalogue: integrations_add {SERVICE} connects one")
        return self.syncs

    def parse_options(self, given: dict[str, Any]) -> Options:
        targets = tuple(f"{KEY}{pk}" for pk in parse_ids(given["catalogue"]))
        return replace(super().parse_options(given), targets=targets)
