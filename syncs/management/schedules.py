"""Common parts of the commands that change a schedule: its name, the record, the answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from common import clock
from common.command import RainboCommand
from common.errors import RainboError, UsageError
from common.terminal import is_one_line, json_text
from syncs.management.base import CommandOutput
from syncs.models import SyncSchedule
from syncs.reports import run_report, schedule_report
from syncs.schedules.store import LONGEST_REASON
from syncs.status import queries


class ScheduleCommand(RainboCommand):
    """Changes the schedule of one sync; exits with 2 if it can't be done."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the sync, as schedule_list shows it")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **given: Any) -> None:
        output = CommandOutput(as_json=given["json"], quiet=False)
        with _errors_shown(output), transaction.atomic():  # the change and its record, or neither
            sentence = self.act(_found(given["name"]), given, output)
        if given["json"]:
            document = schedule_report.document(queries.status(clock.database_now()))
            entries = {entry["sync"]: entry for entry in document["schedules"]}
            self.stdout.write(json_text(entries[given["name"]]))
        else:
            output.say(sentence)

    def act(self, kept: SyncSchedule, given: dict[str, Any], output: CommandOutput) -> str:
        """Return what was done, as a sentence. Raises UsageError, ChangedMeanwhile."""
        raise NotImplementedError


def reason_of(given: dict[str, Any]) -> str:
    """Return the option --reason as one line. Raises UsageError."""
    reason = " ".join(given["reason"].split())
    if not reason or not is_one_line(reason):
        raise UsageError("give a reason in one line with --reason: it is shown to other users")
    if len(reason) > LONGEST_REASON:
        raise UsageError(f"the reason has at most {LONGEST_REASON} characters")
    return reason


def _found(name: str) -> SyncSchedule:
    kept = SyncSchedule.objects.select_related("schedule").filter(sync=name).first()
    if kept is None:
        known = ", ".join(SyncSchedule.objects.order_by("sync").values_list("sync", flat=True))
        raise UsageError(f"{name!r} has no schedule; those that have one: {known or 'none'}")
    return kept


@contextmanager
def _errors_shown(output: CommandOutput) -> Iterator[None]:
    try:
        yield
    except RainboError as error:
        output.show_error(f"{str(error).removesuffix('.')}.")
        sys.exit(run_report.USAGE)
