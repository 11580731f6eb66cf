"""What the rules know of the runs of each sync, in two queries."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from alerts.rules import RunFacts
from syncs.engine import registry
from syncs.status import statistics
from syncs.status.statistics import Window

HOURS = 24
MISSED_WINDOW = timedelta(hours=1)
MOST = 200  # runs of a sync that are looked through: more than three each minute of the hour

# BETWEEN, as in syncs/status/recent.py: by the index of the sync's runs, the last first.
_OTHERS = """
    SELECT wanted.sync,
           (SELECT count(*)
              FROM (SELECT * FROM syncs_syncrun AS run
                     WHERE run.sync BETWEEN wanted.sync AND wanted.sync
                     ORDER BY run.sync, run.id DESC LIMIT %(most)s) AS last
             WHERE last.state = 'skipped' AND last.slot IS NOT NULL
               AND last.error LIKE 'missed:%%'
               AND last.finished_at > %(since)s AND last.finished_at <= %(until)s),
           (SELECT coalesce(array_agg(part.target ORDER BY part.target), '{}')
              FROM syncs_runtarget AS part
             WHERE part.run_id = wanted.run AND part.state = 'failed')
      FROM unnest(%(syncs)s::text[], %(runs)s::bigint[]) AS wanted (sync, run)"""


def read(now: datetime) -> list[RunFacts]:
    """The facts of every sync that the code knows, in their order."""
    syncs = registry.all_syncs()
    known = statistics.statistics([sync.name for sync in syncs], Window.of(HOURS, now))
    parameters: dict[str, Any] = {
        "syncs": [*known],
        "runs": [one.last_run for one in known.values()],
        "since": now - MISSED_WINDOW,
        "until": now,
        "most": MOST,
    }
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS, parameters)
        others = {sync: (missed, tuple(failed)) for sync, missed, failed in cursor.fetchall()}
    return [RunFacts(sync.title, known[sync.name], *others[sync.name]) for sync in syncs]
