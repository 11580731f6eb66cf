from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from common.command import RainboCommand
from tenants.find import part_search


class Command(RainboCommand):
    help = "Index parts of words of e-mails and names, for Find; needs the extension pg_trgm."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--remove", action="store_true", help="drop the indexes; pg_trgm itself stays"
        )

    def handle(self, **options: Any) -> None:
        if options["remove"]:
            part_search.remove()
            self.stdout.write("The indexes are dropped: parts of words are no longer found.")
        else:
            part_search.create()
            self.stdout.write("The indexes are there: Find and find_user find parts of words.")
