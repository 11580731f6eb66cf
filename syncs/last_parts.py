"""What the last runs did with one target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from syncs.models import RunTarget

LOOK_BACK = 50  # runs of a sync among which the target's last part is looked for

_LAST = """
    SELECT last.id
      FROM unnest(%(syncs)s::text[]) AS wanted (sync)
     CROSS JOIN LATERAL (
           SELECT part.id
             FROM (SELECT run.id, run.options FROM syncs_syncrun AS run
                    WHERE run.sync = wanted.sync
                    ORDER BY run.id DESC LIMIT %(limit)s) AS recent
             JOIN syncs_runtarget AS part
               ON part.run_id = recent.id AND part.target = %(target)s
            WHERE NOT recent.options ? 'dry_run'
            ORDER BY part.run_id DESC LIMIT 1
           ) AS last"""


def last_parts_of(target: str, syncs: Sequence[str]) -> dict[str, RunTarget]:
    """Its part in the latest of each sync's recent runs that took it, with the run."""
    given: dict[str, Any] = {"syncs": [*syncs], "target": target, "limit": LOOK_BACK}
    with connection.cursor() as cursor:
        cursor.execute(_LAST, given)
        ids = [pk for (pk,) in cursor.fetchall()]
    parts = RunTarget.objects.filter(pk__in=ids).select_related("run")
    return {part.run.sync: part for part in parts}
