from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from common.terminal import json_text, printable_line
from syncs.dispatch import reconcile
from syncs.dispatch.reconcile import ScheduleIssue
from syncs.engine import registry
from syncs.schedules import store
from syncs.schedules.descriptions import describe

HELD = (
    "a session in RAINBO's own database holds the schedules' rows: it is among those that "
    "SELECT * FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' finds there"
)


class Command(BaseCommand):
    help = "Makes the stored schedules agree with the syncs: what a person chose stays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only tell; exit 1 if any differs")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **options: Any) -> None:
        try:
            found = reconcile.reconcile(only_look=options["check"])
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise
            raise CommandError(HELD) from error
        left = [finding for finding in found if options["check"] or not finding.remedy]
        if options["json"]:
            self.stdout.write(json_text(_document(found, left)))
        else:
            for finding in found:
                wrong = f"{finding.subject}: {finding.wrong}"
                said = wrong if options["check"] else str(finding)
                self.stdout.write(printable_line(said))
            self.stdout.write(_closing(found, only_look=options["check"]))
        if left:
            sys.exit(1)


def _closing(found: list[ScheduleIssue], *, only_look: bool) -> str:
    if only_look and found:
        return f"{len(found)} to mend: setup_schedules without --check does it."
    planned = store.planned()
    lines = [
        f"{sync.name} {describe(plan.cron)}" + (" (switched off)" if plan.off else "")
        for sync in registry.all_syncs()
        for plan in planned.get(sync.name, [])
    ]
    return "\n".join(["Schedules fire while manage.py qcluster runs:", *lines])


def _document(found: list[ScheduleIssue], left: list[ScheduleIssue]) -> dict[str, Any]:
    return {"findings": [asdict(finding) for finding in found], "agrees": not left}
