"""What a reading of the directory changes in user_routes, and how it is merged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import LiteralString

from psycopg import sql

from syncs.engine.guard import PlannedChange
from syncs.engine.window import Window
from syncs.transfer.digest import EVERY, Hashing, row_hash
from syncs.transfer.proof import Cached
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage, step
from tenants.fleet import contract
from tenants.routes import partition

NAME = "sync_user_routing"

UNUSABLE = sql.SQL("""
    CASE WHEN id IS NULL THEN 'no id'
         WHEN email IS NULL OR email = '' THEN 'no e-mail'
         WHEN tenant_id IS NULL OR tenant_id = '' THEN 'no tenant id'
         WHEN user_id IS NULL OR user_id = '' THEN 'no user id'
         WHEN char_length(email) > 320 THEN 'e-mail longer than 320 characters'
         WHEN char_length(user_name) > 1000 THEN 'name longer than 1,000 characters'
         WHEN octet_length(concat(id, tenant_id, rds_instance_id, user_id, status)) > 1000
              THEN 'ids and status longer than 1,000 bytes'
         WHEN updated_at NOT BETWEEN '0002-01-01' AND '9999-01-01'
              THEN 'updated_at out of the calendar'
    END""")

COLUMNS = (
    "email",
    "email_key",
    "remote_instance_id",
    "on_master",
    "remote_tenant_id",
    "remote_user_id",
    "user_name",
    "status",
    "source_updated_at",
    "withheld_reason",
)
MUCH = 10  # a merge of one of so many rows, as autovacuum judges it
GUARDED = ("email", "remote_tenant_id", "remote_user_id", "user_name", "status")

_NEXT = """
    CREATE TEMP {kind} routes_next AS
    SELECT id AS source_id, email, rainbo_email_key(email) AS email_key,
           coalesce(rds_instance_id, {master}) COLLATE "C" AS remote_instance_id,
           rds_instance_id IS NULL AS on_master, tenant_id AS remote_tenant_id,
           user_id AS remote_user_id, user_name, status, updated_at AS source_updated_at,
           NULL::text AS withheld_reason
      FROM {stage}"""

_NOW = """
    CREATE TEMP TABLE routes_now AS
    SELECT r.* FROM differing AS d
     CROSS JOIN LATERAL (SELECT * FROM user_routes WHERE source_id = d.source_id OFFSET 0) AS r"""

# What is decided together: who of the accounts of one e-mail in one tenant is shown.
_TOUCHED = """
    CREATE TEMP TABLE touched_keys AS
    SELECT email_key, remote_instance_id, remote_tenant_id FROM routes_next
     UNION
    SELECT email_key, remote_instance_id, remote_tenant_id FROM routes_now"""

# One look-up per key, by the key alone: the planner, which takes the columns for independent,
# would else go by the tenant, whose routes are many, or compare all with all.
_SAME_KEY = """
    CREATE TEMP TABLE same_key AS
    SELECT r.* FROM (SELECT DISTINCT email_key FROM touched_keys) AS k
     CROSS JOIN LATERAL (SELECT * FROM user_routes WHERE email_key = k.email_key OFFSET 0) AS r"""
_NEIGHBOURS = """
    INSERT INTO routes_now
    SELECT same_key.*
      FROM same_key JOIN touched_keys USING (email_key, remote_instance_id, remote_tenant_id)
      LEFT JOIN differing USING (source_id)
     WHERE differing.source_id IS NULL"""
NEIGHBOURS = sql.SQL(
    "SELECT * FROM routes_now WHERE source_id NOT IN (SELECT source_id FROM differing)"
)
_NEIGHBOURS_NEXT = """
    INSERT INTO routes_next (source_id, {columns})
    SELECT source_id, {kept}, NULL
      FROM ({neighbours}) AS neighbours"""

_SCOPE = """
    CREATE TEMP TABLE route_scope AS
    SELECT source_id FROM differing UNION SELECT source_id FROM routes_now"""

NOW = "routes_now"  # the stored rows of the scope, as they were when the merge was planned
WITHIN = sql.SQL("source_id IN (SELECT source_id FROM route_scope)")

# Of several accounts of one tenant with one key, the latest updated_at, then the highest id, is
# shown.
BEST = sql.SQL("""
            PARTITION BY email_key, remote_instance_id, remote_tenant_id
            ORDER BY source_updated_at DESC NULLS LAST,
                     CASE WHEN source_id ~ '^-?[0-9]+$' THEN source_id::numeric END
                         DESC NULLS LAST,
                     source_id DESC""")
REASON = sql.SQL("'account ' || winner || ' of this tenant has the same e-mail'")
_COLLISIONS = sql.SQL("""
    WITH duplicates AS (
        SELECT email_key, remote_instance_id, remote_tenant_id
          FROM routes_next GROUP BY 1, 2, 3 HAVING count(*) > 1
    ), ranked AS (
        SELECT source_id, first_value(source_id) OVER best AS winner
          FROM routes_next JOIN duplicates USING (email_key, remote_instance_id, remote_tenant_id)
        WINDOW best AS ({best})
    )
    UPDATE routes_next AS n
       SET withheld_reason = {reason}
      FROM ranked WHERE ranked.source_id = n.source_id AND winner <> n.source_id""").format(
    best=BEST, reason=REASON
)

# Of the keys of which any account is withheld: each other key is right if their number is.
_SHOWN = sql.SQL("""
    SELECT count(withheld_reason),
           count(*) FILTER (WHERE (withheld_reason IS NULL) <> (source_id = winner))
      FROM (SELECT source_id, withheld_reason, first_value(source_id) OVER best AS winner
              FROM (SELECT r.* FROM (SELECT DISTINCT email_key FROM user_routes
                                      WHERE withheld_reason IS NOT NULL) AS k
                     CROSS JOIN LATERAL (SELECT * FROM user_routes
                                          WHERE email_key = k.email_key OFFSET 0) AS r) AS same
            WINDOW best AS ({best})) AS ranked""").format(best=BEST)

# Keys with several routes, by the index alone; of these, accounts of one tenant that are all shown.
_SHOWN_TWICE = """
    SELECT count(*)
      FROM (SELECT FROM (SELECT email_key FROM user_routes
                          GROUP BY email_key HAVING count(*) > 1) AS k
             CROSS JOIN LATERAL (SELECT * FROM user_routes
                                  WHERE email_key = k.email_key OFFSET 0) AS r
             WHERE withheld_reason IS NULL
             GROUP BY r.email_key, remote_instance_id, remote_tenant_id
            HAVING count(*) > 1) AS twice"""

_CHANGES = """
    CREATE TEMP TABLE route_changes AS
    SELECT coalesce(n.source_id, r.source_id) AS source_id,
           CASE WHEN r.source_id IS NULL THEN 'added'
                WHEN n.source_id IS NULL THEN 'removed'
                WHEN n.remote_instance_id <> r.remote_instance_id
                  OR n.remote_tenant_id <> r.remote_tenant_id THEN 'moved'
                ELSE 'changed' END AS kind,
           n.remote_instance_id <> r.remote_instance_id AS changes_instance,
           CASE WHEN n.source_id IS NOT NULL AND r.source_id IS NOT NULL
                THEN concat_ws('; ', {steps}) END AS steps,
           r.email AS email_before, r.remote_instance_id AS tenant_instance,
           r.remote_tenant_id AS tenant, n.remote_instance_id AS next_instance,
           n.remote_tenant_id AS next_tenant, {flags}
      FROM routes_next AS n FULL JOIN {now} AS r USING (source_id)
     WHERE (n.source_id, {incoming}) IS DISTINCT FROM (r.source_id, {stored})"""

PLANNED = sql.SQL("""
    SELECT kind, source_id,
           format('%s: instance %s tenant %s', email_before, tenant_instance, tenant)
           || CASE kind WHEN 'moved' THEN format(' → instance %s tenant %s',
                   next_instance, next_tenant) ELSE '' END AS detail, tenant_instance, tenant
      FROM route_changes WHERE kind IN ('removed', 'moved')
     UNION ALL
    SELECT 'changed', source_id, format('%s: %s', email_before, steps), tenant_instance, tenant
      FROM route_changes WHERE steps <> ''""")


@dataclass(frozen=True)
class RouteChanges:
    """How many rows a merge would touch.

    guarded: what the guard judges. stored: the table that has the touched rows as they were.
    """

    added: int
    changed: int
    removed: int
    withheld: int
    total: int
    guarded: PlannedChange = field(repr=False)
    stored: str = "user_routes"


def plan(
    session: Session,
    stage: Stage,
    master: str,
    rows: int,
    window: Window,
    hidden: int | None,
) -> RouteChanges:
    """Compute, outside of the publishing transaction, what differs from user_routes.

    rows: how many the source has that can be stored. window: what was published lately.
    hidden: how many collided at the last publish, when only the rows of table differing are
    staged; None when all are.
    """
    whole = hidden is None
    stage_next(session, stage, master, "TABLE")
    if not whole:
        _widen(session)
    session.execute(_COLLISIONS)
    session.execute("ANALYZE routes_next")
    session.execute(
        sql.SQL(_CHANGES).format(
            now=sql.Identifier("user_routes" if whole else NOW),
            flags=sql.SQL(", ").join(_flag(column) for column in GUARDED),
            steps=sql.SQL(", ").join(map(step, GUARDED)),
            incoming=_prefixed("n"),
            stored=_prefixed("r"),
        )
    )
    session.execute("ANALYZE route_changes")
    return _count(session, rows, window, hidden)


def stage_next(session: Session, stage: Stage, master: str, kind: LiteralString) -> None:
    """Turn what is staged into routes_next, a TABLE or a VIEW: rows as user_routes has them."""
    session.execute(
        sql.SQL(_NEXT).format(kind=sql.SQL(kind), master=sql.Literal(master), stage=stage.table)
    )


def _widen(session: Session) -> None:
    """Include rows that are decided together with those that differ."""
    session.execute(_NOW)
    session.execute(_TOUCHED)
    session.execute("ANALYZE touched_keys")
    session.execute(_SAME_KEY)
    session.execute("ANALYZE same_key")
    session.execute(_NEIGHBOURS)
    session.execute(
        sql.SQL(_NEIGHBOURS_NEXT).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
            kept=sql.SQL(", ").join(map(sql.Identifier, COLUMNS[:-1])),
            neighbours=NEIGHBOURS,
        )
    )
    session.execute(_SCOPE)
    session.execute("ANALYZE routes_now, route_scope")


def merge(session: Session, run_id: int, changes: RouteChanges) -> None:
    """Apply the plan. Rows that don't differ are not written."""
    if changes.removed or changes.changed:
        _remember_and_remove(session, run_id, changes.stored)
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    parts = {"columns": columns, "values": _prefixed("n")}
    if changes.changed:
        session.execute(
            sql.SQL(
                "UPDATE user_routes AS r SET ({columns}, changed_at) "
                "= ({values}, clock_timestamp()) "
                "FROM route_changes AS c JOIN routes_next AS n USING (source_id) "
                "WHERE c.kind IN ('changed', 'moved') AND r.source_id = c.source_id"
            ).format(**parts)
        )
    if changes.added:
        partition.ensure(session)
        some = "JOIN route_changes AS c USING (source_id) WHERE c.kind = 'added'"
        session.execute(
            sql.SQL(
                "INSERT INTO user_routes (source_id, {columns}, changed_at) "
                "SELECT source_id, {values}, clock_timestamp() FROM routes_next AS n {added} "
                "ORDER BY email_key"  # the largest index grows at its end
            ).format(**parts, added=sql.SQL("" if changes.added == changes.total else some))
        )


def refresh_statistics(session: Session, changes: RouteChanges) -> None:
    """Update the planner's statistics after a large merge, which autovacuum has not seen yet.

    And after autovacuum updated the partition's: of the table above it does not. Skipped while
    another session vacuums or alters the table, so that nothing waits for it.
    """
    written = changes.added + changes.changed + changes.removed
    is_large = written > changes.total / MUCH
    if is_large or (written and session.execute(partition.HAS_OLD_STATISTICS).rowcount):
        session.execute("SET default_statistics_target = 100; ANALYZE (SKIP_LOCKED) user_routes")


def _remember_and_remove(session: Session, run_id: int, stored: str) -> None:
    session.execute(
        sql.SQL(
            """
            INSERT INTO user_route_removals (source_id, email, email_key, remote_instance_id,
                                             remote_tenant_id, removed_at, run_id)
            SELECT source_id, r.email, email_key, remote_instance_id, remote_tenant_id,
                   clock_timestamp(), {}
              FROM route_changes AS c JOIN {} AS r USING (source_id)
             WHERE c.kind IN ('removed', 'moved') OR c.changes_email"""
        ).format(sql.Literal(run_id), sql.Identifier(stored))
    )
    session.execute(
        "DELETE FROM user_routes AS r USING route_changes AS c "
        "WHERE c.kind = 'removed' AND r.source_id = c.source_id"
    )


def wrongly_shown(session: Session, hidden: int) -> int:
    """Count the routes, at least, that are wrongly shown or hidden.

    hidden: how many collided at the last publish. Digests don't cover this: sources don't have it.
    """
    found, wrong = session.execute(_SHOWN).fetchone() or (0, 0)
    return max(int(wrong), abs(int(found) - hidden))


def shown_twice(session: Session) -> int:
    """Count the e-mails of which a tenant has several routes that are shown.

    With `wrongly_shown`, this says of all routes whether they are rightly shown or hidden, however
    many collided before.
    """
    (found,) = session.execute(_SHOWN_TWICE).fetchone() or (0,)
    return int(found)


def cached_routes(
    sync: str,
    target: str,
    hashing: Hashing,
    buckets: int,
    within: sql.Composable = EVERY,
    table: str = "user_routes",
    digests_in: str = "syncs_bucketdigest",
) -> Cached:
    """The stored routes, as their source would hash them; within: a condition on source_id.

    table: NOW for what they were when the merge was planned.

    A route with a wrong key, which a look-up would miss, hashes as what no source sent; so does
    one of the master's own at another instance.
    """
    values = [
        sql.SQL(expression).format(target=sql.Literal(target))
        for expression in (
            "source_id",
            """CASE WHEN email_key = rainbo_email_key(email)
                     AND (NOT on_master OR remote_instance_id = {target}) THEN email END""",
            "remote_tenant_id",
            "CASE WHEN on_master THEN NULL ELSE remote_instance_id END",
            "remote_user_id",
            "user_name",
            "status",
            "source_updated_at",
        )
    ]
    rows = sql.SQL("SELECT source_id, {} FROM {} WHERE {}").format(
        row_hash(values, contract.kinds(NAME), hashing.here), sql.Identifier(table), within
    )
    return Cached(sync, target, rows, hashing, buckets, within, digests_in)


def _count(session: Session, rows: int, window: Window, hidden: int | None) -> RouteChanges:
    flags = sql.SQL(", ").join(
        sql.SQL("count(*) FILTER (WHERE {})").format(sql.Identifier(f"changes_{column}"))
        for column in GUARDED
    )
    added, changed, removed, moved, *by_column = session.execute(
        sql.SQL(
            "SELECT count(*) FILTER (WHERE kind = 'added'), "
            "count(*) FILTER (WHERE kind IN ('changed', 'moved')), "
            "count(*) FILTER (WHERE kind = 'removed'), "
            "count(*) FILTER (WHERE changes_instance), {} FROM route_changes"
        ).format(flags)
    ).fetchone() or (0,) * (4 + len(GUARDED))
    (collided,) = session.execute("SELECT count(withheld_reason) FROM routes_next").fetchone() or (
        0,
    )
    if hidden is not None:
        (before,) = session.execute("SELECT count(withheld_reason) FROM routes_now").fetchone() or (
            0,
        )
        collided += hidden - before
    guarded = PlannedChange(
        cached=rows - added + removed,
        read=rows,
        removed=removed,
        moved=moved,
        by_column=dict(zip(GUARDED, by_column, strict=True)),
        window=window,
    )
    stored = "user_routes" if hidden is None else NOW
    return RouteChanges(added, changed, removed, collided, rows, guarded, stored)


def _flag(column: str) -> sql.Composed:
    return sql.SQL(
        "(n.source_id IS NOT NULL AND r.source_id IS NOT NULL "
        "AND n.{0} IS DISTINCT FROM r.{0}) AS {1}"
    ).format(sql.Identifier(column), sql.Identifier(f"changes_{column}"))


def _prefixed(alias: str, columns: Iterable[str] = COLUMNS) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, column) for column in columns)
