from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import transaction
from django.utils import timezone

from activity.log import COMMAND_LINE, record_by
from api import scopes, tokens
from api.models import ApiToken
from api.tokens import NewSecret
from common.clock import database_now, iso
from common.command import RainboCommand
from common.errors import UsageError
from common.terminal import json_text, printable_line
from common.text import format_duration

LIFETIME = timedelta(days=90)
_UNITS = {"h": "hours", "d": "days"}


class Command(RainboCommand):
    help = "Make, rotate, revoke and list the tokens of the HTTP API. A secret is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="ACTION")
        create = acts.add_parser("create", help="make a token and print it")
        create.add_argument("name", help="the program that will use it")
        what = create.add_mutually_exclusive_group(required=True)
        what.add_argument("--role", choices=[*scopes.ROLES], help="a set of scopes")
        what.add_argument(
            "--scopes",
            nargs="+",
            action="extend",
            metavar="SCOPE",
            help=", ".join(scopes.SCOPES),
        )
        create.add_argument(
            "--expires-in",
            type=_lifetime,
            default=LIFETIME,
            metavar="TIME",
            help="such as 12h or 30d, or never; default: 90d",
        )
        rotate = acts.add_parser("rotate", help="make a new secret and print it")
        rotate.add_argument("name", help="its name or id")
        rotate.add_argument(
            "--overlap",
            type=_duration,
            default=tokens.OVERLAP,
            metavar="TIME",
            help="how long the present secret stays valid, such as 0h, 24h or 7d; default: 24h",
        )
        acts.add_parser("revoke", help="end a token at once").add_argument(
            "name", help="its name or id"
        )
        acts.add_parser("list", help="list the tokens").add_argument(
            "--json", action="store_true", help="one JSON document on stdout"
        )

    def handle(self, **options: Any) -> None:
        getattr(self, f"_{options['act']}")(options)

    def _create(self, options: dict[str, Any]) -> None:
        wanted = options["scopes"] or [*scopes.ROLES[options["role"]]]
        ends = database_now() + options["expires_in"] if options["expires_in"] else None
        with transaction.atomic():
            made = tokens.create(options["name"], wanted, COMMAND_LINE, ends)
            after = {"scopes": made.token.scopes, "expires": made.token.expires_at}
            record_by(COMMAND_LINE, None, None, "token.created", made.token, after=after)
        self._show(made, f"expires {_when(ends)}")

    def _rotate(self, options: dict[str, Any]) -> None:
        with transaction.atomic():
            made = tokens.rotate(_found(options["name"]), options["overlap"])
            after = {"the former one is valid until": made.token.previous_until}
            record_by(COMMAND_LINE, None, None, "token.rotated", made.token, after=after)
        until = made.token.previous_until
        self._show(made, f"the former secret is valid until {_when(until)}" if until else "")

    def _revoke(self, options: dict[str, Any]) -> None:
        token = _found(options["name"])
        with transaction.atomic():
            if tokens.revoke(token, COMMAND_LINE):
                record_by(COMMAND_LINE, None, None, "token.revoked", token)
        self.stdout.write(printable_line(f"{token} is revoked."))

    def _list(self, options: dict[str, Any]) -> None:
        now, rows = timezone.now(), ApiToken.objects.order_by("name", "pk")
        if options["json"]:
            document = {"tokens": [_document(token, now) for token in rows]}
            self.stdout.write(json_text(document))
            return
        gone = tokens.makers_gone(rows)
        for token in rows:
            warning = (
                f"  (made by {token.created_by}, no longer active)" if token.pk in gone else ""
            )
            self.stdout.write(printable_line(_line(token, now) + warning))
        if settings.RAINBO_CRON_SECRET:
            self.stdout.write(
                f"{tokens.ENVIRONMENT}  from the environment  {' '.join(scopes.CRON)}"
            )
        elif not rows:
            self.stdout.write("No program has a token: api_token create makes one.")

    def _show(self, made: NewSecret, more: str) -> None:
        """The secret alone on stdout, so that a script can keep it; all else on stderr."""
        said = "; ".join(filter(None, [str(made.token), more]))
        self.stderr.write(printable_line(f"{said}. The secret is shown only now:"))
        self.stdout.write(made.secret)


def _found(name: str) -> ApiToken:
    wanted = name.removeprefix("rbo_").partition("_")[0]
    valid = ApiToken.objects.filter(revoked_at=None)
    token = valid.filter(name=name).first() or valid.filter(public_id=wanted).first()
    if token is None:
        raise UsageError(f"no token is named {printable_line(name)[:100]!r}: see api_token list")
    return token


def _line(token: ApiToken, now: datetime) -> str:
    state = "revoked" if token.revoked_at else "valid" if token.is_valid(now) else "expired"
    ago = "never used"
    if token.last_used_at:
        ago = f"used {format_duration(max(now - token.last_used_at, timedelta()))} ago"
    return (
        f"{token.name}  rbo_{token.public_id}  {state}, expires {_when(token.expires_at)}, {ago}  "
        f"{' '.join(token.scopes)}"
    )


def _document(token: ApiToken, now: datetime) -> dict[str, Any]:
    return {
        "name": token.name,
        "id": f"rbo_{token.public_id}",
        "valid": token.is_valid(now),
        "scopes": token.scopes,
        "created_at": iso(token.created_at),
        "created_by": token.created_by,
        "expires_at": iso(token.expires_at),
        "rotated_at": iso(token.rotated_at),
        "last_used_at": iso(token.last_used_at),
        "revoked_at": iso(token.revoked_at),
    }


def _when(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "never"


def _lifetime(text: str) -> timedelta | None:
    return None if text == "never" else _duration(text)


def _duration(text: str) -> timedelta:
    found = re.fullmatch("([0-9]{1,5})([hd])", text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no time such as 12h or 30d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
