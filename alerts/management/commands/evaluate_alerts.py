from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from alerts import tick
from common.command import RainboCommand
from common.terminal import json_text
from common.text import counted
from syncs.management.base import CommandOutput
from syncs.reports import run_report


class Command(RainboCommand):
    help = "Evaluate the rules and send what is due, once; for cron, or where no worker runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
        parser.add_argument(
            "--quiet", action="store_true", help="no output unless something is wrong"
        )

    def handle(self, **given: Any) -> None:
        output = CommandOutput(as_json=given["json"], quiet=given["quiet"])
        done = tick.tick(wait=True)
        outcome, flush = done.incidents, done.messages
        if given["json"]:
            known = {"incidents": asdict(outcome) if outcome else None, "messages": asdict(flush)}
            self.stdout.write(json_text(known | {"dead_man_switch": done.reached}))
        elif outcome and not given["quiet"]:
            output.say(
                f"{counted(outcome.open, 'incident')} open: {outcome.opened:,} new, "
                f"{outcome.resolved:,} resolved. {counted(flush.sent, 'message')} sent."
            )
        if flush.failed:
            output.show_error(
                f"{counted(flush.failed, 'message')} could not be sent and will be tried again: "
                "the page Channels says why."
            )
        if flush.failed or done.reached is False:
            sys.exit(run_report.FAILED)
