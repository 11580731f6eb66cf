"""Replaces parts of runs that say what the one before them said by counts in their run.

A check of each instance in each minute would be most of RAINBO's database, and all alike. What
remains is what happened: parts that changed rows, that were held, and with which a target began to
fail or to succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from common.errors import UsageError
from common.text import counted
from syncs.models import RunTarget, SyncRun, TargetState

RUNS = 50  # at a time
# Runs of each sync whose parts are left alone: of paused ones, too, pages show the last.
NEWEST = 50
# Kinds of errors of a target that could not be reached, as it may be for months. What reads runs
# of a week for other failures finds each of these.
UNREACHED = ("connection", "timeout", "login", "tls")

# A part with a total stays until a later one is a day old, as the guard compares with it. Of a
# target, parts are looked through one by one from this one on, by the index runs_of_a_target;
# subqueries and not joins, for which the planner would read all runs of the sync for each part.
_ROLL_UP = """
    WITH batch AS MATERIALIZED (
        SELECT id, sync FROM syncs_syncrun AS run
         WHERE rolled_up IS NULL AND finished_at < %(before)s
           AND state NOT IN ('queued', 'running')
           AND (SELECT count(*) FROM (
                       SELECT FROM syncs_syncrun AS later
                        WHERE later.sync BETWEEN run.sync AND run.sync AND later.id > run.id
                          AND later.state NOT IN ('queued', 'running', 'skipped', 'cancelled')
                          AND NOT later.options ? 'dry_run'
                        ORDER BY later.sync DESC, later.id LIMIT %(newest)s) AS newer)
               = %(newest)s
         ORDER BY id LIMIT %(runs)s
    ), repeated AS MATERIALIZED (
        SELECT part.*
          FROM batch
         CROSS JOIN LATERAL (
               SELECT * FROM syncs_runtarget WHERE run_id = batch.id OFFSET 0) AS part
         CROSS JOIN LATERAL (
               SELECT earlier.state, earlier.error_kind, earlier.withheld
                 FROM syncs_runtarget AS earlier
                WHERE earlier.target = part.target AND earlier.run_id < part.run_id
                  AND (SELECT sync FROM syncs_syncrun WHERE id = earlier.run_id) = batch.sync
                ORDER BY earlier.run_id DESC LIMIT 1) AS previous
         WHERE (part.state IN ('succeeded', 'skipped')
                OR part.state = 'failed' AND part.error_kind = ANY (%(unreached)s))
           AND previous.state = part.state AND previous.error_kind = part.error_kind
           AND previous.withheld IS NOT DISTINCT FROM part.withheld
           AND coalesce(part.added, 0) = 0 AND coalesce(part.changed, 0) = 0
           AND coalesce(part.removed, 0) = 0 AND NOT part.accepted
           AND (part.total IS NULL OR (
               SELECT later.id FROM syncs_runtarget AS later
                WHERE later.target = part.target AND later.run_id > part.run_id
                  AND later.state = 'succeeded' AND later.total IS NOT NULL
                  AND (SELECT finished_at FROM syncs_syncrun
                        WHERE id = later.run_id AND sync = batch.sync) <= %(day_ago)s
                ORDER BY later.run_id LIMIT 1) IS NOT NULL)
    ), lines AS (
        DELETE FROM syncs_runlog AS line USING repeated
         WHERE line.run_id = repeated.run_id AND line.target = repeated.target
           AND repeated.state = 'failed'
    ), gone AS (
        DELETE FROM syncs_runtarget AS part USING repeated WHERE part.id = repeated.id
    ), summed AS (
        SELECT run_id, jsonb_object_agg(state, jsonb_strip_nulls(jsonb_build_object(
                   'parts', parts, 'read', read, 'added', added, 'changed', changed,
                   'removed', removed, 'withheld', withheld))) AS states
          FROM (SELECT run_id, state, count(*) AS parts, sum(read) AS read, sum(added) AS added,
                       sum(changed) AS changed, sum(removed) AS removed, sum(withheld) AS withheld
                  FROM repeated GROUP BY run_id, state) AS sums
         GROUP BY run_id
    ), marked AS (
        UPDATE syncs_syncrun AS run SET rolled_up = coalesce(summed.states, '{}')
          FROM batch LEFT JOIN summed ON summed.run_id = batch.id
         WHERE run.id = batch.id
    )
    SELECT (SELECT count(*) FROM batch), (SELECT count(*) FROM repeated)"""


def repeated_parts(now: datetime, before: datetime) -> Iterator[int]:
    """Roll up runs that ended before the moment, batch by batch; yield how many parts each had."""
    given: dict[str, Any] = {"before": before, "day_ago": now - timedelta(hours=24)}
    given |= {"unreached": [*UNREACHED], "runs": RUNS, "newest": NEWEST}
    runs = RUNS
    while runs == RUNS:
        with connection.cursor() as cursor:
            cursor.execute(_ROLL_UP, given)
            runs, parts = cursor.fetchone()
        yield parts


def failed_in(run: int) -> set[str]:
    """Return the targets that failed in a run, or that it did not come to.

    Raises UsageError if some of them are no longer stored one by one.
    """
    rolled_up = SyncRun.objects.filter(pk=run).values_list("rolled_up", flat=True).first() or {}
    if failed := rolled_up.get(TargetState.FAILED):
        days = counted(settings.RAINBO_RUN_DETAIL_DAYS, "day")
        raise UsageError(
            f"run {run} ended more than {days} ago, and {failed['parts']:,} of those that failed "
            "in it are no longer listed: run the sync without --failed-from"
        )
    parts = RunTarget.objects.filter(run=run, state__in=[TargetState.FAILED, TargetState.WAITING])
    return set(parts.values_list("target", flat=True))
