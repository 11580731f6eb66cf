"""A first fill: all routes at once, into a new partition that no reader waits for.

Until its transaction ends, readers find no route; then they find all. One whose transaction began
before (REPEATABLE READ) goes on finding none, for the rows are younger than what it sees.
"""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from syncs.engine.guard import PlannedChange
from syncs.engine.window import Window
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage
from tenants.routes import merge, partition
from tenants.routes.merge import RouteChanges

# What `merge` fills by a comparison is empty: there is nothing to review.
_NO_CHANGES = """
    CREATE TEMP TABLE route_changes (kind text, source_id text, steps text, email_before text,
                                     tenant_instance text, tenant text,
                                     next_instance text, next_tenant text)"""
_INSERT = sql.SQL(
    "INSERT INTO {} (source_id, {columns}, changed_at) "
    "SELECT source_id, {columns}, clock_timestamp() FROM routes_next"
).format(
    sql.Identifier(partition.NAME),
    columns=sql.SQL(", ").join(map(sql.Identifier, merge.COLUMNS)),
)
# Or the planner would take e-mails to be few, and hash them all.
_ANALYZE = f"ANALYZE {partition.NAME} (email_key)"
# Keys with several routes, by the index; of these, those of accounts of one tenant.
_COLLISIONS = sql.SQL("""
    WITH ranked AS (
        SELECT source_id, first_value(source_id) OVER best AS winner
          FROM (SELECT r.*
                  FROM (SELECT email_key FROM user_routes GROUP BY 1 HAVING count(*) > 1) AS k
                 CROSS JOIN LATERAL (SELECT * FROM user_routes
                                      WHERE email_key = k.email_key OFFSET 0) AS r) AS same
        WINDOW best AS ({best})
    )
    UPDATE user_routes AS r SET withheld_reason = {reason}
      FROM ranked WHERE ranked.source_id = r.source_id AND winner <> r.source_id""").format(
    best=merge.BEST, reason=merge.REASON
)


def plan(session: Session, stage: Stage, master: str, rows: int, window: Window) -> RouteChanges:
    """Like `merge.plan`, where user_routes has no row: each that is staged will be added.

    Who collides is found when they are published.
    """
    merge.stage_next(session, stage, master, "VIEW")
    session.execute(_NO_CHANGES)
    none = dict.fromkeys(merge.GUARDED, 0)
    guarded = PlannedChange(0, rows, removed=0, moved=0, by_column=none, window=window)
    return RouteChanges(rows, 0, 0, 0, rows, guarded)


def publish(session: Session, changes: RouteChanges) -> RouteChanges:
    """Make, fill, index and attach the partition; return the changes with how many collide.

    Raises NotAllowed where RAINBO's role can't create it.
    """
    partition.create(session)
    session.execute(_INSERT)
    partition.attach(session)
    session.execute(_ANALYZE)
    return replace(changes, withheld=session.execute(_COLLISIONS).rowcount)
