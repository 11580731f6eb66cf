from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from common.errors import UsageError
from syncs.engine import registry, runs
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.management.base import SyncCommand, actor
from syncs.models import SyncRun, SyncSchedule, Trigger


class Command(SyncCommand):
    help = "Run a sync now, in the foreground, with the options of its schedule."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name",
            nargs="?",
            metavar="NAME",
            help="name of the sync; default: asked for on a terminal",
        )
        super().add_arguments(parser)

    def select_syncs(self, given: dict[str, Any]) -> Sequence[str]:
        given["name"] = given["name"] or _ask()
        return (given["name"],)

    def parse_options(self, given: dict[str, Any]) -> Options:
        kept = SyncSchedule.objects.filter(sync=given["name"]).first()
        stored = Options.from_json(kept.options) if kept else Options()
        return replace(stored, dry_run=given["dry_run"])

    def request(self, sync: Sync, options: Options) -> SyncRun:
        """Run it as the schedule would, but for no scheduled time: no outcome, no retry."""
        return runs.request(sync, options, Trigger.SCHEDULE, actor())


def _ask() -> str:
    """Return the sync chosen on the terminal. Raises UsageError without a terminal."""
    names = [sync.name for sync in registry.all_syncs()]
    if not sys.stdin.isatty():
        raise UsageError(f"give the name of a sync: {', '.join(names)}")
    for number, name in enumerate(names, 1):
        sys.stderr.write(f"{number}  {name}\n")
    answer = input("Which sync? ").strip()
    if answer.isdecimal() and 0 < int(answer) <= len(names):
        return names[int(answer) - 1]
    return answer
