from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from common.clock import database_now, iso
from common.command import RainboCommand
from common.errors import UsageError
from common.manage_command import line
from common.text import counted
from tenants.ghosts import adoption
from tenants.models.installation import installation_id


class Command(RainboCommand):
    help = "Keep, give back or replace the id that marks the ghost users of this installation."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=("export", "adopt", "separate"))
        parser.add_argument("id", nargs="?", default="", help="adopt: as export printed it")
        parser.add_argument("--reason", default="", help="adopt, separate: it is recorded")
        parser.add_argument(
            "--take-over",
            nargs="+",
            type=int,
            default=[],
            metavar="NUMBER",
            help="adopt: people here who get the ghost users of these numbers",
        )
        parser.add_argument(
            "--first-number",
            type=_number,
            metavar="NUMBER",
            help="separate: of people who are added later",
        )

    def handle(self, **options: Any) -> None:
        match options["what"]:
            case "export":
                self.stdout.write(json.dumps(_document()))
            case "adopt":
                self._adopt(options)
            case _:
                former = adoption.separate(options["reason"], options["first_number"])
                self.stdout.write(f"This is an installation of its own now. It was {former}.")

    def _adopt(self, options: dict[str, Any]) -> None:
        key = _id_in(options["id"])
        done = adoption.adopt(key, options["reason"], options["take_over"], self._say_how_long)
        self.stdout.write(
            f"This is installation {key} now: {counted(done.ghosts, 'ghost user')} on "
            f"{counted(done.instances, 'instance')}. It was {done.former}."
        )
        for error in done.missing:
            self.stderr.write(f"Not asked: {error}")
        self.stdout.write(f"Deactivate those of people who left: {line('sync_ghost_users')}")

    def _say_how_long(self) -> None:
        self.stderr.write(f"Looking for {adoption.WATCH:.0f} seconds whether it is alive …")


def _document() -> dict[str, Any]:
    return {"installation": installation_id(), "exported_at": iso(database_now())}


def _id_in(text: str) -> str:
    """The id, or the document that `export` printed."""
    if not text.strip().startswith("{"):
        return text.strip()
    try:
        return str(json.loads(text)["installation"])
    except (ValueError, KeyError):
        raise UsageError("that is not what export printed") from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 2_000_000_000):
        raise UsageError(f"{text!r} is not a number from 1 to 2000000000")
    return int(text)
