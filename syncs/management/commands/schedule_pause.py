from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import CommandParser

from activity.log import record_by
from common.clock import database_now
from common.errors import UsageError
from common.text import parse_length
from syncs.management.base import CommandOutput, actor
from syncs.management.schedules import ScheduleCommand, reason_of
from syncs.models import SyncSchedule
from syncs.schedules import store
from syncs.schedules.pause import PauseEnd
from syncs.schedules.store import pause_facts

NAMED = (PauseEnd.TOMORROW, PauseEnd.MONDAY)


class Command(ScheduleCommand):
    help = "Pause the schedule of a sync: its scheduled times are skipped until the pause ends."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        ends = parser.add_mutually_exclusive_group(required=True)
        ends.add_argument(
            "--for", dest="length", metavar="TIME", help="how long: 30min, 4h, 7d; up to a year"
        )
        ends.add_argument(
            "--until",
            metavar="TIME",
            help="tomorrow or monday (at 08:00), or a time such as 2027-01-31T08:00; without an "
            "offset, in the zone RAINBO_TIME_ZONE",
        )
        parser.add_argument("--reason", required=True, help="why (shown to others)")

    def act(self, kept: SyncSchedule, given: dict[str, Any], output: CommandOutput) -> str:
        reason, before = reason_of(given), pause_facts(kept)
        if given["length"]:
            until = database_now() + parse_length(given["length"])
        else:
            until = _end(given["until"])
        paused = store.pause(kept.sync, until, reason, actor())
        after = pause_facts(paused)
        record_by(actor(), None, None, "schedule.paused", paused, before=before, after=after)
        local = until.astimezone(ZoneInfo(settings.RAINBO_TIME_ZONE))
        return f"{kept.sync} is paused until {local:%Y-%m-%d %H:%M %Z}: {reason}"


def _end(text: str) -> datetime:
    zone = ZoneInfo(settings.RAINBO_TIME_ZONE)
    if text in NAMED:
        return PauseEnd(text).after(database_now(), zone)
    try:
        until = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no time: use tomorrow, monday or a time such as 2027-01-31T08:00"
        ) from None
    return until if until.tzinfo else until.replace(tzinfo=zone)
