from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import psycopg
from django.core.management.base import CommandError, CommandParser
from django.db import OperationalError

from common.command import RainboCommand
from common.terminal import json_text, printable_line
from common.text import counted
from syncs.dispatch import reconcile
from syncs.dispatch.reconcile import ScheduleIssue
from syncs.engine import registry
from syncs.schedules import store
from syncs.schedules.descriptions import describe

LOCKED = (
    "a session in RAINBO's own database holds the schedules' rows: find it among those that "
    "SELECT * FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' lists there"
)


class Command(RainboCommand):
    help = "Make the stored schedules match the syncs; your own settings are kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="only report; exit with 1 if any schedule differs"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **options: Any) -> None:
        try:
            found = reconcile.reconcile(dry_run=options["check"])
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise
            raise CommandError(LOCKED) from error
        left = [finding for finding in found if options["check"] or not finding.remedy]
        if options["json"]:
            self.stdout.write(json_text(_document(found, left)))
        else:
            for finding in found:
                wrong = f"{finding.subject}: {finding.wrong}"
                text = wrong if options["check"] else str(finding)
                self.stdout.write(printable_line(text))
            self.stdout.write(_closing(found, dry_run=options["check"]))
        if left:
            sys.exit(1)


def _closing(found: list[ScheduleIssue], *, dry_run: bool) -> str:
    if dry_run and found:
        them = "it" if len(found) == 1 else "them"
        return (
            f"{counted(len(found), 'problem')} found. "
            f"Run setup_schedules without --check to repair {them}."
        )
    planned = store.planned()
    lines = [
        f"{sync.name} {describe(plan.cron)}" + (" (switched off)" if plan.off else "")
        for sync in registry.scheduled_syncs()
        for plan in planned.get(sync.name, [])
    ]
    return "\n".join(["Schedules fire while manage.py qcluster runs:", *lines])


def _document(found: list[ScheduleIssue], left: list[ScheduleIssue]) -> dict[str, Any]:
    return {"findings": [asdict(finding) for finding in found], "agrees": not left}
