from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from common.command import RainboCommand
from rainbo import sql_reader


class Command(RainboCommand):
    help = "Print the SQL that lets a role read RAINBO's views, for a superuser's psql."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the role; it is created")
        parser.add_argument("--remove", action="store_true", help="print how to remove it instead")

    def handle(self, **options: Any) -> None:
        self.stdout.write(sql_reader.statements(options["name"], remove=options["remove"]))
