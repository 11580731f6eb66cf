"""What the rules know of the runs of each sync, in one query."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from alerts.rules import RunFacts
from syncs.engine import registry

WINDOW = timedelta(hours=24)
MISSED_WINDOW = timedelta(hours=1)
MOST = 2_000  # runs of a sync: more than one each minute of the window

# BETWEEN, as in syncs/status/recent.py: by the index of the sync's runs, the last first.
_RUNS = """
    SELECT wanted.sync, array_agg(run.state ORDER BY run.id DESC) FILTER (WHERE run.counts),
           array_agg(run.seconds ORDER BY run.id DESC) FILTER (WHERE run.counts),
           max(run.id) FILTER (WHERE run.counts),
           count(*) FILTER (WHERE run.state = 'skipped' AND run.error LIKE 'missed:%%'
                              AND run.slot IS NOT NULL AND run.finished_at > %(missed)s),
           (SELECT array_agg(part.target ORDER BY part.target)
              FROM syncs_runtarget AS part
             WHERE part.state = 'failed'
               AND part.run_id = max(run.id) FILTER (WHERE run.counts))
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
      LEFT JOIN LATERAL (
           SELECT id, state, seconds, error, slot, finished_at,
                  state IN ('succeeded', 'partial', 'held', 'failed', 'lost')
                      AND NOT options ? 'dry_run' AS counts
             FROM (SELECT * FROM syncs_syncrun AS run
                    WHERE run.sync BETWEEN wanted.sync AND wanted.sync
                    ORDER BY run.sync, run.id DESC LIMIT %(most)s) AS last
            WHERE finished_at > %(since)s AND finished_at <= %(now)s
           ) AS run ON true
     GROUP BY wanted.sync"""


def read(now: datetime) -> list[RunFacts]:
    """The facts of every sync that the code knows, in their order."""
    syncs = registry.all_syncs()
    parameters: dict[str, Any] = {
        "syncs": [sync.name for sync in syncs],
        "now": now,
        "since": now - WINDOW,
        "missed": now - MISSED_WINDOW,
        "most": MOST,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RUNS, parameters)
        rows = {sync: rest for sync, *rest in cursor.fetchall()}
    found = []
    for sync in syncs:
        states, seconds, last, missed, failed_on = rows[sync.name]
        known = [s for s in seconds or () if s is not None]
        failed = tuple(failed_on or ())
        found.append(RunFacts(sync.name, sync.title, states or (), known, missed, last, failed))
    return found
