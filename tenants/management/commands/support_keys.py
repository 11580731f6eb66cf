from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from activity.log import COMMAND_LINE, record_by
from common import manage_command
from common.clock import database_now, iso
from common.command import RainboCommand
from common.terminal import json_text
from tenants.support_access import keys
from tenants.support_access.keys import KeyState, StoredKey


class Command(RainboCommand):
    help = "List, rotate and export the keys that sign support access."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="ACTION")
        acts.add_parser("list", help="list the keys").add_argument(
            "--json", action="store_true", help="one JSON document on stdout"
        )
        rotate = acts.add_parser("rotate", help="publish the next key; it signs 15 minutes later")
        rotate.add_argument(
            "--at-once",
            action="store_true",
            help="for a lost or stolen key: the new one signs now, the others are withdrawn",
        )
        acts.add_parser("export", help="print the public keys for applications, as a JWK set")

    def handle(self, **options: Any) -> None:
        getattr(self, f"_{options['act']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        stored = keys.read(database_now())
        if options["json"]:
            self.stdout.write(json_text({"keys": [_document(one) for one in stored]}))
            return
        for one in stored:
            self.stdout.write(_line(one))
        if not stored:
            line = manage_command.line("support_keys export")
            self.stdout.write(f"No key yet: the first session makes one, or {line}.")

    def _rotate(self, options: dict[str, Any]) -> None:
        with transaction.atomic():
            made = keys.rotate(database_now(), at_once=options["at_once"])
            after = {"signs from": made.signs_from, "others withdrawn": options["at_once"]}
            record_by(COMMAND_LINE, None, None, "support_key.rotated", made, after=after)
        self.stdout.write(f"{made} is published and signs from {_when(made.signs_from)} on.")

    def _export(self, _: dict[str, Any]) -> None:
        """The first key is made here if there is none: an application may need it beforehand."""
        now = database_now()
        keys.ensure(now)
        self.stdout.write(json_text(keys.document(now)))


def _line(one: StoredKey) -> str:
    key, until = one.key, f", published until {_when(one.until)}" if one.until else ""
    verb = "signs" if one.state is KeyState.NEXT else "signed"
    return f"{key.kid}  {one.state}{until}, {verb} from {_when(key.signs_from)} on"


def _document(one: StoredKey) -> dict[str, Any]:
    return {
        "kid": one.key.kid,
        "state": one.state.value,
        "made_at": iso(one.key.made_at),
        "signs_from": iso(one.key.signs_from),
        "published_until": iso(one.until),
        "withdrawn_at": iso(one.key.withdrawn_at),
    }


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
