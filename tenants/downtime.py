"""Since when an instance has been down: one rule for every page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

RECENT = timedelta(days=6)  # the checks of each minute are kept a little longer

# The first check that failed after the last answer: a row or two of the unique index each. Where
# it is no longer kept, the last answer itself is the nearest that is known.
_SINCE = """
    SELECT wanted.id, coalesce(failed.minute, answer.at)
      FROM unnest(%(instances)s::bigint[]) AS wanted (id)
      JOIN syncs_confirmation AS answer
        ON answer.sync = 'instance_health' AND answer.target = wanted.id::text
      LEFT JOIN LATERAL (
           SELECT minute FROM instance_checks
            WHERE instance_id = wanted.id AND minute >= date_trunc('minute', answer.at)
              AND health = 'down' AND answer.at > statement_timestamp() - %(recent)s
            ORDER BY minute LIMIT 1
           ) AS failed ON true"""


def since(instances: Iterable[int]) -> dict[int, datetime]:
    """Of instances that are down, since when; without those that have never answered."""
    wanted: dict[str, Any] = {"instances": list(instances), "recent": RECENT}
    with connection.cursor() as cursor:
        cursor.execute(_SINCE, wanted)
        return dict(cursor.fetchall())
