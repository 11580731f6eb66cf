from __future__ import annotations

from typing import Any

from activity.log import record_by
from common.clock import database_now
from syncs.management.base import CommandOutput, actor
from syncs.management.schedules import ScheduleCommand
from syncs.models import SyncSchedule
from syncs.schedules import store
from syncs.schedules.store import pause_facts


class Command(ScheduleCommand):
    help = "End the pause of a schedule now: the sync runs at its next scheduled time."

    def act(self, kept: SyncSchedule, given: dict[str, Any], output: CommandOutput) -> str:
        if not kept.is_paused(database_now()):
            return f"{kept.sync} is not paused."
        before = pause_facts(kept)
        resumed = store.resume(kept.sync, actor())
        after = pause_facts(resumed)
        record_by(actor(), None, None, "schedule.resumed", resumed, before=before, after=after)
        return f"{kept.sync} is resumed: it runs at its next scheduled time."
