from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from common import clock
from syncs.engine import pruning


class Command(BaseCommand):
    help = "Deletes the records of old runs; what waits for a person or is still needed stays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", type=_days, required=True, metavar="DAYS", help="1 or more"
        )

    def handle(self, **options: Any) -> None:
        done = pruning.prune(clock.database_now(), options["older_than"])
        counts = ", ".join(f"{pruned.what} {pruned.count:,}" for pruned in done)
        self.stdout.write(f"Deleted what is older than {options['older_than']} days: {counts}.")


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 36500):
        raise ArgumentTypeError(f"{text!r} is no number of days from 1 to 36500")
    return int(text)
