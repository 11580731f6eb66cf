from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser

from common import clock
from common.command import RainboCommand
from syncs.engine import pruning


class Command(RainboCommand):
    help = "Delete records of old runs, except those that need review or are still referenced."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", type=_days, required=True, metavar="DAYS", help="1 to 36500"
        )

    def handle(self, **options: Any) -> None:
        done = pruning.prune(clock.database_now(), options["older_than"])
        counts = ", ".join(f"{pruned.what} {pruned.count:,}" for pruned in done)
        self.stdout.write(f"Deleted records older than {options['older_than']} days: {counts}.")


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 36500):
        raise ArgumentTypeError(f"{text!r} is not a number of days from 1 to 36500")
    return int(text)
