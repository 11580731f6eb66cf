from __future__ import annotations

import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.db.models import Q

from activity.log import record_by
from alerts import outbox
from alerts.models import Channel
from common.command import RainboCommand
from common.terminal import json_text
from syncs.management.base import CommandOutput, actor
from syncs.reports import run_report


class Command(RainboCommand):
    help = "Send a test message to a channel and show what the other side answered."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("channel", help="its name or id")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **given: Any) -> None:
        output = CommandOutput(as_json=given["json"], quiet=False)
        channel = _find(given["channel"])
        if channel is None:
            names = ", ".join(Channel.objects.values_list("name", flat=True)) or "none"
            output.show_error(f"There is no such channel. There are: {names}.")
            sys.exit(run_report.USAGE)
        result = outbox.send_test(channel)
        found = {"accepted": result.accepted, "answer": result.detail}
        record_by(actor(), None, None, "channel.tested", channel, after=found)
        if given["json"]:
            self.stdout.write(json_text({"channel": channel.name} | found))
        elif result.accepted:
            output.say(f"{channel.name} accepted the test: {result.detail}.")
        else:
            output.show_error(f"{channel.name} did not accept the test: {result.detail}.")
        if not result.accepted:
            sys.exit(run_report.FAILED)


def _find(text: str) -> Channel | None:
    try:
        return Channel.objects.filter(Q(name=text) | Q(pk=text)).first()
    except ValidationError:  # no id
        return Channel.objects.filter(name=text).first()
