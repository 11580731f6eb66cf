from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from api.management import automated_sync
from api.management.automated_sync import EXAMPLE_SYNC, PLATFORMS, Check
from common.command import RainboCommand
from common.errors import UsageError
from common.redaction import redact
from common.terminal import json_text, printable, printable_line
from common.text import counted
from syncs.engine import registry

VARIABLES = ("CRON_SECRET", "OPERATOR_TOKEN", "ADMIN_KEY")  # as deploy/triggers names them


class Command(RainboCommand):
    help = "Check that syncs start by themselves, create schedules, and print lines for a platform."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--platform",
            choices=[*PLATFORMS],
            help="print what to enter there to start syncs, alone on stdout; all else on stderr",
        )
        parser.add_argument(
            "--url",
            default="",
            help="where RAINBO serves: start a sync there over HTTP, with the token in the "
            f"environment ({', '.join(VARIABLES)} or RAINBO_CRON_SECRET)",
        )
        parser.add_argument(
            "--sync", default=EXAMPLE_SYNC, metavar="NAME", help=f"for --platform; {EXAMPLE_SYNC}"
        )
        parser.add_argument("--check", action="store_true", help="create no schedules")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **options: Any) -> None:
        url, token = options["url"], ""
        if url:
            url, token = _address(url), _token()
        sync = registry.get(options["sync"]).name
        platform = options["platform"]
        found = list(automated_sync.check(url, token, dry_run=options["check"]))
        found += automated_sync.check_reach(platform, url)
        lines = automated_sync.lines(platform, url, sync) if platform else ""
        wrong = [check for check in found if not check.is_ok]
        if options["json"]:
            checks = [asdict(check) | {"ok": check.is_ok} for check in found]
            document = {"works": not wrong, "checks": checks, "platform": platform, "lines": lines}
            self.stdout.write(redact_token(json_text(document), token))
        else:
            # With lines, those are all of stdout, so that `| crontab -` gets nothing else.
            say = partial(self.stderr.write, style_func=str) if lines else self.stdout.write
            for check in found:
                say(redact_token(printable_line(_line(check)), token))
            say(_closing(wrong, tried=bool(url)))
            if lines:
                self.stdout.write(printable(lines), ending="")
        if wrong:
            sys.exit(1)


def redact_token(text: str, token: str) -> str:
    """What another server answered may hold the token that it was sent."""
    return text.replace(token, "***") if token else text


def _address(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?", url):
        raise UsageError("--url must be an address such as https://rainbo.example.com")
    return url


def _token() -> str:
    found = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "")
    token: str = found or settings.RAINBO_CRON_SECRET
    if not token:
        raise UsageError(f"--url needs a token: set {VARIABLES[0]} in the environment")
    if not re.fullmatch(r"[!-~]+", token):
        raise UsageError("the token in the environment has characters that no token has")
    return token


def _line(check: Check) -> str:
    state = "ok" if check.is_ok else "problem"
    remedy = f": {check.remedy}" if check.remedy else ""
    return f"{state:<8} {check.name}: {redact(check.detail)}{redact(remedy)}"


def _closing(wrong: list[Check], *, tried: bool) -> str:
    if wrong:
        return f"{counted(len(wrong), 'problem')} found."
    if tried:
        return "Both ways work: the workers run what is scheduled, and HTTP starts a sync."
    return "The workers run what is scheduled. Give --url to try the way over HTTP."
