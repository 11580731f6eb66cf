"""What the rules know of the runs of each sync."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from alerts.rules import RunFacts
from common.joint_query import Row, Statement
from syncs.engine import registry
from syncs.status import statistics
from syncs.status.statistics import Window

HOURS = 24
MISSED_WINDOW = timedelta(hours=1)
MOST = 200  # runs of a sync that are looked through: more than three each minute of the hour

# BETWEEN, as in syncs/status/recent.py: by the index of the sync's runs, the last first.
_FACTS = """
    SELECT known.*,
           (SELECT count(*)
              FROM (SELECT * FROM syncs_syncrun AS run
                     WHERE run.sync BETWEEN known.sync AND known.sync
                     ORDER BY run.sync, run.id DESC LIMIT %(most)s) AS last
             WHERE last.state = 'skipped' AND last.slot IS NOT NULL
               AND last.error LIKE 'missed:%%'
               AND last.finished_at > %(missed_since)s
               AND last.finished_at <= %(until)s) AS missed,
           (SELECT coalesce(array_agg(part.target ORDER BY part.target), '{}')
              FROM syncs_runtarget AS part
             WHERE part.run_id = known.last_run AND part.state = 'failed') AS failed_on
      FROM known"""


def ask(now: datetime) -> Statement:
    """The question about every sync that the code knows, whose answer `facts_in` takes."""
    names = [sync.name for sync in registry.all_syncs()]
    more = {"missed_since": now - MISSED_WINDOW, "most": MOST}
    return statistics.ask(names, Window.of(HOURS, now), _FACTS, more)


def facts_in(rows: Iterable[Row]) -> list[RunFacts]:
    """Return the facts of every sync, in their order."""
    syncs = {sync.name: sync for sync in registry.all_syncs()}
    return [
        RunFacts(
            title=syncs[row["sync"]].title,
            noun=syncs[row["sync"]].noun,
            missed=row.pop("missed"),
            failed_on=tuple(row.pop("failed_on")),
            of=statistics.statistics_of(row),
        )
        for row in rows
    ]
