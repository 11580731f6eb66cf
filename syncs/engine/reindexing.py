"""Rebuilds indexes that hold few entries in many pages, as those of rolled-up tables come to do.

VACUUM gives a page of an index back only when it is empty. Where one row of hundreds stays for
months, hardly a page ever is, and the index of a table that does not grow grows each day.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from psycopg import errors, sql

from syncs.transfer.session import Session, open_session

logger = logging.getLogger("rainbo.pruning")

LEAST_BYTES = 8_000_000  # of an index that is worth it
BYTES_AN_ENTRY = 64  # a fresh one of numbers has 20 to 40
SECONDS = 45  # for one, and in which another is begun; the process also asks for heartbeats

_SPARSE = """
    SELECT index.relname
      FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
      JOIN pg_class AS stored ON stored.oid = indrelid
     WHERE stored.relname = ANY (%(tables)s) AND stored.relnamespace = 'public'::regnamespace
       AND indisvalid AND index.reltuples > 0
       AND pg_relation_size(indexrelid) > greatest(%(least)s, %(each)s * index.reltuples)
     ORDER BY 1"""
# What a rebuild that was stopped leaves behind.
_LEFT_OVER = """
    SELECT index.relname
      FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
      JOIN pg_class AS stored ON stored.oid = indrelid
     WHERE stored.relname = ANY (%(tables)s) AND stored.relnamespace = 'public'::regnamespace
       AND NOT indisvalid AND index.relname ~ '_cc(new|old)[0-9]*$'"""


def rebuild_sparse(tables: Collection[str]) -> list[str]:
    """Rebuild the sparse indexes of these tables, locking nobody out; return their names.

    It waits for transactions that are open. What it does not come to is left for the next day.
    """
    given = {"tables": [*tables], "least": LEAST_BYTES, "each": BYTES_AN_ENTRY}
    until = time.monotonic() + SECONDS
    rebuilt = []
    with open_session("reindexing") as session:
        session.execute(f"SET statement_timeout = {int(SECONDS * 1000)}")
        session.execute("SET lock_timeout = 0")
        try:
            for (name,) in session.execute(_LEFT_OVER, given).fetchall():
                _do(session, "DROP INDEX CONCURRENTLY IF EXISTS {}", name)
            for (name,) in session.execute(_SPARSE, given).fetchall():
                if time.monotonic() < until:
                    _do(session, "REINDEX INDEX CONCURRENTLY {}", name)
                    rebuilt.append(name)
        except (errors.QueryCanceled, errors.DeadlockDetected) as error:
            logger.info("indexes were not all rebuilt: %s", str(error).partition("\n")[0])
    return rebuilt


def _do(session: Session, statement: str, name: str) -> None:
    session.execute(sql.SQL(statement).format(sql.Identifier(name)))
