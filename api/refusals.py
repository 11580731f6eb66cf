"""Counts refused requests per address, so that nobody tries secrets without end.

A valid token is looked up first and never waits for what others did at its address.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import InternalError, connection, transaction

from common.read_only import is_read_only

MOST = 30  # refused requests of one address in a minute
KEPT = timedelta(hours=1)

# One statement, so that all threads of all processes count together.
_COUNT = """
    INSERT INTO api_refusals AS known (address, minute, count)
    VALUES (%s, date_trunc('minute', clock_timestamp()), 1)
        ON CONFLICT (address, minute) DO UPDATE SET count = known.count + 1
    RETURNING count, ceil(60 - extract(second FROM clock_timestamp()))::integer"""


def count(address: str | None) -> int | None:
    """Count a refused request; return the seconds to wait if the address had too many, or None."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_COUNT, [address or "unknown"])
            found, wait = cursor.fetchone()
    except InternalError as error:
        if is_read_only(error):  # then nobody counts, and nothing but reading is possible
            return None
        raise
    return max(wait, 1) if found > MOST else None
