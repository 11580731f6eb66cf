"""What the next run needs to know of earlier ones."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import connection

from syncs.engine.run import Run
from syncs.models import Confirmation, Trigger
from syncs.schedules import crontab, store

_PUBLISHED = """
    SELECT part.total FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
     WHERE run.sync = %(sync)s AND part.target = wanted.target
       AND part.state = 'succeeded' AND part.total IS NOT NULL"""
# Each of the three is evaluated only where those before it found nothing.
_DAY_AGO = f"""
    SELECT wanted.target, coalesce(
        ({_PUBLISHED} AND run.finished_at > %(since)s AND EXISTS (
            SELECT FROM syncs_syncrun AS held JOIN syncs_runtarget AS kept ON kept.run_id = held.id
             WHERE held.accepted_by_id = run.id AND kept.target = wanted.target
               AND kept.state = 'held')
          ORDER BY run.id DESC LIMIT 1),
        ({_PUBLISHED} AND run.finished_at <= %(since)s ORDER BY run.id DESC LIMIT 1),
        ({_PUBLISHED} AND run.finished_at > %(since)s ORDER BY run.id LIMIT 1))
      FROM unnest(%(targets)s::text[]) AS wanted (target)"""  # noqa: S608 (constants)

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
    return dict(Confirmation.objects.filter(sync=sync, at__gt=since).values_list("target", "at"))


def rows_day_ago(sync: str, target: str, now: datetime) -> int | None:
    """Return the target's row count 24 h ago, or after the last accepted publish since then."""
    return rows_a_day_ago(sync, [target], now)[target]


def rows_a_day_ago(sync: str, targets: Collection[str], now: datetime) -> dict[str, int | None]:
    """Like `rows_day_ago`, for many targets in one query; None where it is unknown."""
    since = now - timedelta(hours=24)
    with connection.cursor() as cursor:
        cursor.execute(_DAY_AGO, {"sync": sync, "targets": [*targets], "since": since})
        return dict(cursor.fetchall())


def period(sync: str, default_cron: str, at: datetime) -> timedelta:
    """Return the time between two slots of a sync, by its schedules or its default cron line."""
    active = [plan.cron for plan in store.planned().get(sync, []) if not plan.off]
    return min(crontab.period(cron, at) for cron in active or [default_cron])
