from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from activity.changes import actions, differences
from activity.log import record_by
from common.errors import UsageError
from syncs.engine import registry
from syncs.management.base import CommandOutput, actor
from syncs.management.schedules import ScheduleCommand
from syncs.models import SyncSchedule
from syncs.reports.schedule_preview import preview
from syncs.schedules import crontab, descriptions, store
from syncs.schedules.store import LONGEST_GRACE, LONGEST_NOTE, OFF, Wanted

DEFAULT = "default"


class Command(ScheduleCommand):
    help = "Change the schedule of a sync: its frequency, whether it is on, its grace, its note."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--cron", metavar="LINE", help="five fields in UTC, as in crontab: '*/20 6-18 * * 1-5'"
        )
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument("--on", action="store_true", help="start scheduled runs")
        switch.add_argument("--off", action="store_true", help="stop scheduled runs")
        parser.add_argument(
            "--grace",
            metavar="SECONDS",
            help=f"how late a run may end before it counts as late; {DEFAULT}: as the settings say",
        )
        parser.add_argument("--note", metavar="TEXT", help="shown to other users")
        parser.add_argument(
            "--accept-warnings", action="store_true", help="store a frequency despite its warnings"
        )

    def act(self, kept: SyncSchedule, given: dict[str, Any], output: CommandOutput) -> str:
        seen, before = store.version(kept), store.facts(kept)
        row = kept.schedule
        stored = Wanted(row.cron, row.repeats != OFF, kept.options, kept.grace_seconds, kept.note)
        wanted = _wanted(stored, given)
        if wanted == stored:
            return f"{kept.sync} has these settings already."
        if wanted.cron != stored.cron or (wanted.enabled and not stored.enabled):
            _show_warnings(kept, wanted, output, accepted=given["accept_warnings"])
        changed = store.change(kept.sync, wanted, actor(), seen)
        differing = differences(before, store.facts(changed))
        for action, was, now in actions("schedule", *differing, switch="enabled"):
            record_by(actor(), None, None, action, changed, before=was, after=now)
        state = "on" if wanted.enabled else "off"
        return f"{kept.sync} is {state}: {descriptions.describe(wanted.cron)}."


def _wanted(stored: Wanted, given: dict[str, Any]) -> Wanted:
    wanted = stored
    if given["cron"] is not None:
        cron = crontab.normalize(given["cron"])
        if problem := crontab.find_problem(cron):
            raise UsageError(f"--cron: {problem}")
        wanted = replace(wanted, cron=cron)
    if given["on"] or given["off"]:
        wanted = replace(wanted, enabled=given["on"])
    if given["grace"] is not None:
        wanted = replace(wanted, grace_seconds=_grace(given["grace"]))
    if given["note"] is not None:
        if len(given["note"]) > LONGEST_NOTE:
            raise UsageError(f"--note: at most {LONGEST_NOTE:,} characters")
        wanted = replace(wanted, note=given["note"])
    return wanted


def _grace(text: str) -> int | None:
    if text == DEFAULT:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) > LONGEST_GRACE:
        raise UsageError(
            f"--grace: {text!r} is no number of seconds from 0 to {LONGEST_GRACE:,}, nor {DEFAULT}"
        )
    return int(text)


def _show_warnings(
    kept: SyncSchedule, wanted: Wanted, output: CommandOutput, *, accepted: bool
) -> None:
    sync = next((one for one in registry.scheduled_syncs() if one.name == kept.sync), None)
    if sync is None:
        raise UsageError(f"the sync {kept.sync} no longer exists: setup_schedules repairs its row")
    warnings = preview(sync, wanted.cron, wanted.grace_seconds).warnings
    for warning in warnings:
        output.show_error(warning)
    if warnings and not accepted:
        raise UsageError("nothing is stored: read the warnings, then add --accept-warnings")
