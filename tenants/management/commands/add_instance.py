from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from common import manage_command
from common.command import RainboCommand
from common.errors import UsageError
from tenants.fleet import ghost_roles, registration
from tenants.fleet.password_command import has_command
from tenants.fleet.registration import InstanceInput
from tenants.fleet.transactions import POOLED
from tenants.models.instance import AuthMethod, SslMode

PLAIN = (
    ("name", "display name"),
    ("host", "host name, address or the folder of a Unix socket"),
    ("writer_host", "where ghost users are written if the host is a replica; '' for the host"),
    ("database", "the database with the tenants"),
    ("user", "RAINBO's role on the server"),
    ("schema_group", "folder of RAINBO_SOURCE_SQL with the SQL files of its schema"),
    ("group", "for example a region or a team, to limit lists and alert channels to it"),
    ("app_url", "URL where its tenants sign in"),
    ("tenant_url", "URL of one tenant, with {tenant} for its id; '' for none of its own"),
    ("support_mail_text", "text of the mail about support access, with {reason}; '' for the usual"),
    ("notes", "notes for operators"),
)


class Command(RainboCommand):
    help = "Register an instance of the fleet, or change one (--update)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--id", type=int, help="its --rds number; default: next free id")
        for name, text in PLAIN:
            parser.add_argument(f"--{name.replace('_', '-')}", help=text)
        parser.add_argument(
            "--labels", metavar="A,B", help="words that work like groups; '' for none"
        )
        parser.add_argument(
            "--ghost-roles",
            metavar="ROLE=WHAT,…",
            help="what ghost users may do there, by RAINBO role; '' for nothing",
        )
        parser.add_argument("--port", type=int, help="default: 5432")
        parser.add_argument("--writer-port", type=int, help="default: the same port")
        secret = parser.add_mutually_exclusive_group()
        secret.add_argument(
            "--password-env", metavar="VARIABLE", help="environment variable with the password"
        )
        secret.add_argument("--password-file", metavar="FILE", help="file with the password")
        parser.add_argument("--ssl-mode", choices=SslMode.values, help="default: verify-full")
        parser.add_argument("--ssl-ca", metavar="FILE", help="CA certificates; '' for the system's")
        parser.add_argument(
            "--require-auth", choices=AuthMethod.values, help="default: scram-sha-256"
        )
        for yes, no, target in (
            ("--master", "--no-master", "is_master"),
            ("--active", "--inactive", "is_active"),
            ("--tenants", "--no-tenants", "has_tenants"),
            ("--ghosts", "--no-ghosts", "has_ghosts"),
            ("--support-mail", "--no-support-mail", "support_mail"),
        ):
            group = parser.add_mutually_exclusive_group()
            group.add_argument(yes, action="store_const", const=True, dest=target)
            group.add_argument(no, action="store_const", const=False, dest=target)
        parser.add_argument("--update", action="store_true", help="change a registered instance")
        parser.add_argument("--no-check", action="store_true", help="save without connecting")
        parser.add_argument(
            "--accept-rebuilt",
            action="store_true",
            help="accept that the server is not the one registered before",
        )
        parser.add_argument(
            "--copy-of", type=int, metavar="N", help="it was restored from a copy of instance N"
        )

    def handle(self, *args: object, **given: Any) -> None:
        if given["update"] and given["id"] is None:
            raise UsageError("--update needs --id N")
        settings = _read_input(given)
        if given["update"]:
            stored = registration.change(given["id"], settings)
        else:
            stored = registration.add(given["id"], settings)
        instance = stored.instance
        did = "changed" if given["update"] else "registered"
        how = "without connecting" if given["no_check"] else "it answers"
        how += f", {POOLED}" if stored.is_pooled else ""
        then = manage_command.line(f"check_fleet --rds {instance.pk}")
        self.stdout.write(f"{instance} is {did} ({how}). Next: {then}")


def _read_input(given: dict[str, Any]) -> InstanceInput:
    names = [name for name, _ in PLAIN]
    names += [
        "port",
        "writer_port",
        "ssl_mode",
        "require_auth",
        "is_master",
        "is_active",
        "has_tenants",
        "has_ghosts",
        "support_mail",
    ]
    fields = {name: given[name] for name in names if given[name] is not None}
    if given["labels"] is not None:
        words = (word.strip() for word in given["labels"].split(","))
        fields["labels"] = list(dict.fromkeys(filter(None, words)))
    if given["ghost_roles"] is not None:
        fields["ghost_roles"] = ghost_roles.normal(given["ghost_roles"].replace(",", "\n"))
    if given["ssl_ca"] is not None:
        fields["ssl_ca"] = _text(given["ssl_ca"], "--ssl-ca") if given["ssl_ca"] else ""
    if not given["update"]:
        registration.check_new(given["id"], fields)
    return InstanceInput(
        fields,
        password=_password(given, fields),
        check=not given["no_check"],
        accept_rebuilt=given["accept_rebuilt"],
        copy_of=given["copy_of"],
    )


def _password(given: dict[str, Any], fields: dict[str, Any]) -> str | None:
    """Return the password from the given source, or ask for it on a terminal."""
    if variable := given["password_env"]:
        password = os.environ.get(variable)
        if password is None:
            raise UsageError(f"--password-env names {variable}, which is not set")
    elif given["password_file"]:
        password = _text(given["password_file"], "--password-file").rstrip("\r\n")
    elif (
        given["update"] and not registration.needs_password(given["id"], InstanceInput(fields))
    ) or has_command(given["host"] or ""):
        return None
    elif sys.stdin.isatty():
        password = getpass.getpass("Password: ")
    else:
        raise UsageError(
            "no password was given: use --password-file or --password-env"
            + (
                "; a change of host, port, user, CA, authentication method or to a weaker ssl mode "
                "needs it again"
                if given["update"]
                else ""
            )
        )
    if not password:
        raise UsageError("the password is empty")
    return password


def _text(path: str, option: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{option} names {path}, which can't be read: {why}") from error
