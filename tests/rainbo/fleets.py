"""Fleets and histories of any size, written by the database itself.

Of 1,561 runs one is of the nightly sync and nearly all are of the one of each minute, as in life.
"""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.utils import timezone

SYNCS = ("instance_health", "tenant_summaries", "user_routing", "ghost_users")
LATEST = 10  # runs of a sync that have a part for each instance

_INSTANCES = """
    INSERT INTO rds_instances (id, name, host, port, database, "user", password, ssl_mode, ssl_ca,
                               require_auth, app_url, is_active, is_master, notes, health,
                               last_check_at, latency_ms, last_error, server_version,
                               system_identifier)
    SELECT n, 'rds' || n, 'rds.example.com', 5432, 'app', 'rainbo', '', 'verify-full', '',
           'scram-sha-256', '', true, n = 1, '', 'healthy', %(now)s, 1.5, '', '18.1', ''
      FROM generate_series(%(first)s, %(count)s) AS n"""
_CHECKS = """
    INSERT INTO instance_checks (instance_id, minute, health, latency_ms, server_version, error)
    SELECT id, date_trunc('minute', %(now)s::timestamptz) - minute * interval '1 minute',
           'healthy', 1 + (id + minute) %% 9, '18.1', ''
      FROM rds_instances, generate_series(0, %(minutes)s - 1) AS minute
     WHERE id >= %(first)s"""
_CONFIRMED = """
    INSERT INTO syncs_confirmation (sync, target, at, rows, basis)
    SELECT sync, id::text, %(now)s::timestamptz - interval '30 seconds', 24, ''
      FROM rds_instances, unnest(%(syncs)s::text[]) AS sync
     WHERE id >= %(first)s AND (is_master OR sync <> 'user_routing')"""
_RUNS = """
    INSERT INTO syncs_syncrun (sync, state, trigger, actor, options, attempt, created_at,
                               started_at, finished_at, seconds, host, cancel_requested_by, error)
    SELECT (%(syncs)s::text[])[CASE WHEN n %% 1561 = 0 THEN 4 WHEN n %% 64 = 0 THEN 2
                                    WHEN n %% 16 = 0 THEN 3 ELSE 1 END],
           CASE WHEN n %% 15 = 0 THEN 'partial' WHEN n %% 31 = 0 THEN 'failed'
                ELSE 'succeeded' END,
           'schedule', '', '{}', 1, ended, ended - interval '11 seconds', ended, 10 + n %% 5,
           'host', '', ''
      FROM (SELECT n, %(now)s::timestamptz - (%(count)s - n) * interval '20 seconds' AS ended
              FROM generate_series(1, %(count)s) AS n) AS numbered"""
_PARTS = """
    INSERT INTO syncs_runtarget (run_id, target, label, state, note, error, error_kind, passing)
    SELECT run.id, instance.id::text, instance.name, 'succeeded', '', '', '', false
      FROM (SELECT id, row_number() OVER (PARTITION BY sync ORDER BY id DESC) AS place
              FROM syncs_syncrun) AS run, rds_instances AS instance
     WHERE run.place <= %(latest)s
        ON CONFLICT DO NOTHING"""
_TABLES = ("rds_instances", "instance_checks", "syncs_confirmation", "syncs_syncrun")


def write(instances: int, runs: int, *, minutes: int = 60, first: int = 1) -> None:
    """A healthy fleet, its checks of the last minutes, and what its syncs did and confirmed.

    first: the number of the first instance that is new.
    """
    facts: dict[str, Any] = {
        "now": timezone.now(),
        "first": first,
        "syncs": [*SYNCS],
        "count": instances,
        "minutes": minutes,
        "latest": LATEST,
    }
    with connection.cursor() as cursor:
        for statement in (_INSTANCES, _CHECKS, _CONFIRMED):
            cursor.execute(statement, facts)
        cursor.execute(_RUNS, facts | {"count": runs})
        cursor.execute(_PARTS, facts)
        for table in (*_TABLES, "syncs_runtarget"):
            cursor.execute(f"ANALYZE {table}")
