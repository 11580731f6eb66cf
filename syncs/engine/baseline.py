"""What the next run needs to know of earlier ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models.functions import Now

from syncs.engine import window
from syncs.engine.run import Run
from syncs.engine.window import Publish, Window
from syncs.models import Confirmation, Trigger
from syncs.schedules import crontab, store

# What was published within the window, and what was published last before it, oldest first.
# Publishes that change nothing that a guard counts are left out. OFFSET 0: the few parts of a few
# runs are looked up, where the planner would read the parts of all runs.
_PUBLISHES = """
    WITH wanted AS (
        SELECT * FROM unnest(%(targets)s::text[], %(sources)s::text[]) AS wanted (target, source)
    ), recent AS (
        SELECT part.* FROM syncs_syncrun AS run CROSS JOIN LATERAL (
               SELECT * FROM syncs_runtarget WHERE run_id = run.id OFFSET 0) AS part
         WHERE run.sync = %(sync)s AND run.finished_at > %(since)s
    ), published AS (
        SELECT wanted.target AS wanted, wanted.source AS wanted_source, false AS is_first, part.*
          FROM wanted JOIN recent AS part ON {place}
         WHERE part.state = 'succeeded' AND part.total IS NOT NULL
         UNION ALL
        SELECT wanted.target, wanted.source, true, last.* FROM wanted CROSS JOIN LATERAL (
               SELECT part.*
                 FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
                WHERE run.sync = %(sync)s AND run.finished_at <= %(since)s AND {place}
                  AND part.state = 'succeeded' AND part.total IS NOT NULL
                ORDER BY part.run_id DESC LIMIT 1) AS last
    ), judged AS (
        SELECT *, target = wanted AND source IN ('', wanted_source) AS same_source,
               coalesce(guarded_counts, jsonb_build_object('removed', removed)) AS counts
          FROM published
    )
    SELECT wanted, total, jsonb_strip_nulls(counts)::text, same_source, accepted FROM judged
     WHERE is_first OR accepted OR NOT same_source OR added > 0 OR counts <> '{{}}'
     ORDER BY run_id"""

EXACTNESS = timedelta(seconds=1)  # of two readings of the clock, one after the other
MANUAL = (Trigger.COMMAND, Trigger.BUTTON, Trigger.API)


def confirmed_lately(run: Run) -> dict[str, datetime]:
    """Return targets confirmed less than half a period ago, which a manual run may skip, and when.

    Empty for a scheduled run, and for one that is forced, dry, accepting or retrying.
    """
    options = run.options
    if (
        run.record.trigger not in MANUAL
        or options.force
        or options.dry_run
        or options.accept_held is not None
        or options.failed_from is not None
    ):
        return {}
    sync, now = run.record.sync, run.now()
    since = now - period(sync, run.cron, now) / 2
    return {target: at for target, at in confirmed(sync).items() if at > since}


def confirmed(sync: str) -> dict[str, datetime]:
    """Return of when the published data of each target is.

    Those later than now are from before the clock was set back, and count for nothing.
    """
    known = Confirmation.objects.filter(sync=sync, at__lte=Now() + EXACTNESS)
    return dict(known.values_list("target", "at"))


def windows(
    sync: str, sources: Mapping[str, str], now: datetime, *, shared: bool = False
) -> dict[str, Window]:
    """Return what was published of each target within 24 h.

    sources: the identity of each target's server. shared: all targets publish the same rows, one
    after the other, as masters do, so that a publish of another is one of another source.
    """
    place = "true" if shared else "part.target = wanted.target"
    given: dict[str, Any] = {
        "sync": sync,
        "targets": [*sources],
        "sources": [*sources.values()],
        "since": now - window.LENGTH,
    }
    found: dict[str, list[Publish]] = {target: [] for target in sources}
    with connection.cursor() as cursor:
        cursor.execute(_PUBLISHES.format(place=place), given)
        for target, rows, counts, same_source, accepted in cursor.fetchall():
            found[target].append(Publish(rows, json.loads(counts), same_source, accepted))
    return {target: window.gather(publishes) for target, publishes in found.items()}


def period(sync: str, default_cron: str, at: datetime) -> timedelta:
    """Return the time between two slots of a sync, by its schedules or its default cron line."""
    active = [plan.cron for plan in store.planned().get(sync, []) if not plan.off]
    return min(crontab.period(cron, at) for cron in active or [default_cron])
