"""What a reading of the instances changes in tenant_master, and how it is merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import sql

from syncs.engine.guard import CountChange, PlannedChange
from syncs.engine.window import Window
from syncs.transfer.digest import Hashing, row_hash
from syncs.transfer.proof import Cached
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage, step
from tenants.fleet import contract

BUCKETS = 16  # of digests, per instance

UNUSABLE = sql.SQL("""
    CASE WHEN id IS NULL OR id = '' THEN 'no id'
         WHEN octet_length(id) > 1000 THEN 'id longer than 1,000 bytes'
         WHEN name IS NULL THEN 'no name'
         WHEN status IS NULL OR status = '' THEN 'no status'
         WHEN char_length(status) > 1000 THEN 'status longer than 1,000 characters'
         WHEN char_length(name) > 1000 THEN 'name longer than 1,000 characters'
         WHEN char_length(primary_contact_name) > 1000
              THEN 'contact name longer than 1,000 characters'
         WHEN char_length(primary_contact_email) > 320
              THEN 'contact e-mail longer than 320 characters'
         WHEN trial_ends_at NOT BETWEEN '0002-01-01' AND '9999-01-01'
              THEN 'trial_ends_at out of the calendar'
         WHEN subscription_started_at NOT BETWEEN '0002-01-01' AND '9999-01-01'
              THEN 'subscription_started_at out of the calendar'
         WHEN last_activity_at NOT BETWEEN '0002-01-01' AND '9999-01-01'
              THEN 'last activity out of the calendar'
    END""")

# tenant_master's columns and those of the contract, in its order.
COLUMNS = {
    "name": "name",
    "status": "status",
    "contact_name": "primary_contact_name",
    "contact_email": "primary_contact_email",
    "trial_ends_at": "trial_ends_at",
    "subscription_started_at": "subscription_started_at",
    "user_count": "user_count",
    "location_count": "location_count",
    "last_activity_at": "last_activity_at",
}
GUARDED = ("name", "status", "contact_name", "contact_email")

_PLAN = """
    CREATE TEMP TABLE tenant_plan AS
    SELECT coalesce(n.target, r.target) AS target, coalesce(n.id, r.remote_id) AS source_id,
           CASE WHEN r.id IS NULL THEN 'added'
                WHEN n.id IS NULL THEN 'removed'
                WHEN r.vanished_at IS NOT NULL THEN 'back'
                ELSE 'changed' END AS kind,
           r.id AS tenant_id, r.name AS name_before, r.status AS status_before,
           n.name AS name_after, n.status AS status_after,
           CASE WHEN n.id IS NOT NULL AND r.id IS NOT NULL AND r.vanished_at IS NULL
                THEN concat_ws('; ', {steps}) END AS steps,
           n.user_count, n.location_count,
           {flags}
      FROM {stage} AS n
      FULL JOIN (SELECT *, instance_id::text AS target FROM tenant_master
                  WHERE instance_id::text = ANY({targets})) AS r
        ON n.target = r.target AND n.id = r.remote_id
     WHERE r.id IS NULL
        OR (n.id IS NULL) <> (r.vanished_at IS NOT NULL)
        OR (n.id IS NOT NULL AND ({incoming}) IS DISTINCT FROM ({cached}))"""

_REMEMBER = """
    INSERT INTO tenant_changes (tenant_id, kind, before, after, at, run_id)
    SELECT tenant_id, step.kind, coalesce(step.before, ''), coalesce(step.after, ''),
           clock_timestamp(), %(run)s
      FROM tenant_plan AS p CROSS JOIN LATERAL (VALUES
           ('status', p.changes_status, p.status_before, p.status_after),
           ('name', p.changes_name, p.name_before, p.name_after),
           ('vanished', p.kind = 'removed', NULL, NULL),
           ('back', p.kind = 'back', NULL, NULL)) AS step (kind, happened, before, after)
     WHERE p.target = ANY(%(targets)s) AND p.kind <> 'added' AND step.happened"""

_VANISH = """
    UPDATE tenant_master AS t SET vanished_at = clock_timestamp()
      FROM tenant_plan AS p
     WHERE p.target = ANY(%(targets)s) AND p.kind = 'removed' AND t.id = p.tenant_id"""

# When each target's snapshot was taken.
_TAKEN = "unnest(%(targets)s::text[], %(ats)s::timestamptz[]) AS taken (target, at)"

_REFRESH = f"""
    UPDATE tenant_master AS t
       SET ({{columns}}, cache_refreshed_at, vanished_at) = ({{incoming}}, n.at, NULL)
      FROM (SELECT * FROM {{stage}} JOIN {_TAKEN} USING (target)) AS n
     WHERE t.instance_id = n.target::integer AND t.remote_id = n.id"""  # noqa: S608 (constants)

_ADD = f"""
    INSERT INTO tenant_master (instance_id, remote_id, {{columns}}, cache_refreshed_at)
    SELECT n.target::integer, n.id, {{incoming}}, n.at
      FROM (SELECT * FROM {{stage}} JOIN {_TAKEN} USING (target)) AS n
      JOIN tenant_plan AS p ON p.target = n.target AND p.source_id = n.id
     WHERE p.kind = 'added'"""  # noqa: S608 (constants)

_COUNT_DAY = f"""
    INSERT INTO tenant_daily_counts AS c (tenant_id, day, user_count, location_count)
    SELECT id, (taken.at AT TIME ZONE 'UTC')::date, user_count, location_count
      FROM tenant_master JOIN {_TAKEN} ON instance_id = taken.target::integer
     WHERE vanished_at IS NULL
        ON CONFLICT (tenant_id, day) DO UPDATE
       SET user_count = excluded.user_count, location_count = excluded.location_count
     WHERE (c.user_count, c.location_count)
           IS DISTINCT FROM (excluded.user_count, excluded.location_count)"""  # noqa: S608 (constants)

_CHANGES = """
    SELECT target, count(*) FILTER (WHERE kind = 'added'),
           count(*) FILTER (WHERE kind IN ('changed', 'back')),
           count(*) FILTER (WHERE kind = 'removed'), {flags}
      FROM tenant_plan WHERE target = ANY(%s) GROUP BY target"""
_TOTALS = """
    SELECT wanted.target, coalesce(cached.tenants, 0), coalesce(staged.tenants, 0)
      FROM unnest(%s::text[]) AS wanted (target)
      LEFT JOIN (SELECT instance_id::text AS target, count(*) AS tenants FROM tenant_master
                  WHERE vanished_at IS NULL GROUP BY instance_id) AS cached USING (target)
      LEFT JOIN (SELECT target, count(*) AS tenants FROM {stage} GROUP BY target) AS staged
          USING (target)"""
# Of the tenants that stay. What is unknown counts as none.
_COUNTS = """
    SELECT r.instance_id::text, what, sum(before)::bigint, sum(after)::bigint,
           count(*) FILTER (WHERE before > 0),
           count(*) FILTER (WHERE before > 0 AND after = 0)
             - count(*) FILTER (WHERE before = 0 AND after > 0)
      FROM tenant_master AS r LEFT JOIN tenant_plan AS p ON p.tenant_id = r.id
     CROSS JOIN LATERAL (VALUES
           ('users', coalesce(r.user_count, 0),
            coalesce(CASE WHEN p.kind IS NULL THEN r.user_count ELSE p.user_count END, 0)),
           ('locations', coalesce(r.location_count, 0),
            coalesce(CASE WHEN p.kind IS NULL THEN r.location_count ELSE p.location_count END, 0))
           ) AS counted (what, before, after)
     WHERE r.instance_id::text = ANY(%s) AND r.vanished_at IS NULL
       AND p.kind IS DISTINCT FROM 'removed'
     GROUP BY r.instance_id, what"""

_PLANNED = sql.SQL("""
    SELECT kind, source_id, name_before AS detail FROM tenant_plan
     WHERE target = {target} AND kind = 'removed'
     UNION ALL
    SELECT 'changed', source_id, format('%s: %s', name_before, steps) FROM tenant_plan
     WHERE target = {target} AND steps <> ''""")
_LOWERED = sql.SQL("""
    SELECT 'lowered', source_id, format('%s: %s', name_before, lowered)
      FROM (SELECT p.source_id, p.name_before, concat_ws('; ',
                   CASE WHEN coalesce(p.user_count, 0) < r.user_count
                        THEN format('users %L → %L', r.user_count, p.user_count) END,
                   CASE WHEN coalesce(p.location_count, 0) < r.location_count
                        THEN format('locations %L → %L', r.location_count, p.location_count) END
                   ) AS lowered
              FROM tenant_plan AS p JOIN tenant_master AS r ON r.id = p.tenant_id
             WHERE p.target = {target} AND p.kind = 'changed') AS counted
     WHERE lowered <> ''""")


@dataclass(frozen=True)
class TenantChanges:
    """How many of an instance's tenants a merge would touch; guarded: what the guard judges."""

    added: int
    changed: int
    removed: int
    total: int
    guarded: PlannedChange = field(repr=False)


def plan(session: Session, stage: Stage, targets: Iterable[str]) -> None:
    """Compute, outside of the publishing transaction, what differs from tenant_master."""
    session.execute(
        sql.SQL(_PLAN).format(
            flags=sql.SQL(", ").join(
                sql.SQL(
                    "coalesce(n.{} IS DISTINCT FROM r.{} AND n.id IS NOT NULL, false) AS {}"
                ).format(
                    sql.Identifier(COLUMNS[column]),
                    sql.Identifier(column),
                    sql.Identifier(f"changes_{column}"),
                )
                for column in GUARDED
            ),
            stage=stage.table,
            targets=sql.Literal(list(targets)),
            incoming=_names("n", COLUMNS.values()),
            cached=_names("r", COLUMNS),
            steps=sql.SQL(", ").join(step(column, COLUMNS[column]) for column in GUARDED),
        )
    )
    session.execute("ANALYZE tenant_plan")


def changes(
    session: Session, stage: Stage, windows: Mapping[str, Window]
) -> dict[str, TenantChanges]:
    """Count the plan of each target. windows: what was published of each lately."""
    flags = sql.SQL(", ").join(
        sql.SQL("count(*) FILTER (WHERE {} AND kind = 'changed')").format(
            sql.Identifier(f"changes_{column}")
        )
        for column in GUARDED
    )
    targets = [*windows]
    planned = {
        target: counts
        for target, *counts in session.execute(sql.SQL(_CHANGES).format(flags=flags), [targets])
    }
    totals = session.execute(sql.SQL(_TOTALS).format(stage=stage.table), [targets]).fetchall()
    counted: dict[str, list[CountChange]] = {target: [] for target in targets}
    for target, *count in session.execute(_COUNTS, [targets]).fetchall():
        counted[target].append(CountChange(*count))
    nothing = [0] * (3 + len(GUARDED))
    found = {}
    for target, cached, total in totals:
        added, changed, removed, *by_column = planned.get(target, nothing)
        guarded = PlannedChange(
            cached=cached,
            read=total,
            removed=removed,
            by_column=dict(zip(GUARDED, by_column, strict=True)),
            counted=tuple(counted[target]),
            window=windows[target],
        )
        found[target] = TenantChanges(added, changed, removed, total, guarded)
    return found


def planned(target: str, *, lowered: bool = False) -> sql.Composed:
    """Return the SQL of one target's plan for review, as `held.keep` takes it.

    lowered: with the tenants whose counts fall.
    """
    of = {"target": sql.Literal(target)}
    parts = [_PLANNED, _LOWERED] if lowered else [_PLANNED]
    changes = sql.SQL(" UNION ALL ").join(part.format(**of) for part in parts)
    return sql.SQL(
        "SELECT *, {target} AS tenant_instance, source_id AS tenant FROM ({changes}) AS planned"
    ).format(**of, changes=changes)


def merge(session: Session, stage: Stage, taken: Mapping[str, datetime], run_id: int) -> None:
    """Apply the plan of the targets; every tenant that is there is stamped as refreshed.

    taken: when each target's snapshot opened.
    """
    parts = {
        "stage": stage.table,
        "columns": sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        "incoming": _names("n", COLUMNS.values()),
    }
    facts = {"targets": [*taken], "ats": [*taken.values()], "run": run_id}
    for statement in (_REMEMBER, _VANISH, _REFRESH, _ADD, _COUNT_DAY):
        session.execute(sql.SQL(statement).format(**parts), facts)


def source_form(target: str, hashing: Hashing) -> sql.Composed:
    """Source id and hash of every tenant there, as its source would hash it."""
    return sql.SQL("SELECT remote_id, hash FROM ({}) AS tenants").format(
        source_forms([target], hashing)
    )


def source_forms(targets: Iterable[str], hashing: Hashing) -> sql.Composed:
    """Target, source id and hash of every tenant of the targets, as their sources would hash it."""
    values = [sql.Identifier("remote_id"), *map(sql.Identifier, COLUMNS)]
    return sql.SQL(
        "SELECT instance_id::text, remote_id, {} AS hash FROM tenant_master "
        "WHERE instance_id = ANY({}) AND vanished_at IS NULL"
    ).format(
        row_hash(values, contract.kinds("sync_tenant_summaries"), hashing.here),
        sql.Literal([int(target) for target in targets]),
    )


def cached_tenants(sync: str, target: str, hashing: Hashing) -> Cached:
    """The tenants of an instance, as their source would hash them."""
    return Cached(sync, target, source_form(target, hashing), hashing, BUCKETS)


def _names(alias: str, columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, column) for column in columns)
