-- Half a day of a fleet as its syncs leave it behind. Parameters: until (its end), instances.
-- Of each 50 instances one is down for good; each other is down for half an hour each third day.
-- Each hour one of ten instances has changed tenants. %(removed)s routes go in the half day.

CREATE TEMP TABLE fleet ON COMMIT DROP AS SELECT
    id, 'instance ' || id || ' (eu-central-' || lpad(id::text, 3, '0') || ')' AS label,
    'eu-central-' || lpad(id::text, 3, '0') AS name
FROM generate_series(1, %(instances)s) AS id;

CREATE TEMP TABLE begun ON COMMIT DROP AS SELECT
    at, at - %(until)s::timestamptz + interval '12 hours' AS since, sync, every
FROM (VALUES ('instance_health', interval '1 minute'), ('user_routing', interval '15 minutes'),
    ('tenant_summaries', interval '1 hour'), ('ghost_users', interval '1 day')) AS syncs (sync, every)
CROSS JOIN LATERAL generate_series(%(until)s::timestamptz - interval '12 hours',
    %(until)s::timestamptz - interval '1 second', every) AS at
WHERE sync <> 'ghost_users' OR extract(hour FROM %(until)s::timestamptz AT TIME ZONE 'UTC') = 12;

CREATE TEMP TABLE runs ON COMMIT DROP AS
WITH made AS (
    INSERT INTO syncs_syncrun (sync, state, trigger, actor, options, slot, attempt, created_at,
        started_at, finished_at, seconds, token, host, pid, cancel_requested_by, error)
    SELECT sync, CASE WHEN sync = 'user_routing' THEN 'succeeded' ELSE 'partial' END, 'schedule',
        '', '{}', at, 1, at, at + interval '300 milliseconds', at + interval '3 seconds', 2.7,
        (random() * 9e18)::bigint, 'console-1/b3c5d0ce9a1e4e3b8a43', 4711, '', ''
    FROM begun ORDER BY at, sync RETURNING id, sync, slot)
SELECT *, extract(epoch FROM slot)::bigint / 60 AS minute FROM made;

CREATE TEMP TABLE parts ON COMMIT DROP AS SELECT
    runs.id AS run, sync, slot, fleet.id AS instance, label, name,
    fleet.id %% 50 = 7 OR (minute + fleet.id * 1009) %% 4320 < 30 AS is_down,
    sync = 'tenant_summaries' AND (minute / 60 + fleet.id) %% 10 = 0 AS has_changed
FROM runs JOIN fleet ON sync <> 'user_routing' OR fleet.id = 1;

INSERT INTO syncs_runtarget (run_id, target, label, state, read, added, changed, removed, withheld,
    total, seconds, note, error, error_kind, passing, guarded_counts, source)
SELECT run, instance::text, label, CASE WHEN is_down THEN 'failed' ELSE 'succeeded' END,
    CASE WHEN counts THEN 5000 END, CASE WHEN counts THEN has_changed::int END,
    CASE WHEN counts THEN 0 END, CASE WHEN counts THEN 0 END, CASE WHEN counts THEN 0 END,
    CASE WHEN counts THEN 5000 END, 0.0123,
    CASE WHEN sync = 'instance_health' AND NOT is_down
        THEN 'healthy, ' || round((1 + random() * 9)::numeric, 1) || ' ms, PostgreSQL 18.1' ELSE '' END,
    CASE WHEN is_down THEN label || ' can''t be reached at ' || name
        || '.rds.example.com:5432: check the network and its firewall' ELSE '' END,
    CASE WHEN is_down THEN 'connection' ELSE '' END, is_down,
    CASE WHEN counts THEN '{}'::jsonb END,
    CASE WHEN counts THEN '7400000000000000001/16385' ELSE '' END
FROM parts, LATERAL (SELECT sync <> 'instance_health' AND NOT is_down AS counts) AS c
ORDER BY run, instance;

INSERT INTO syncs_runlog (run_id, at, level, target, message)
SELECT run, slot, 'error', instance::text, label || ' can''t be reached at ' || name
    || '.rds.example.com:5432: check the network and its firewall'
FROM parts WHERE is_down ORDER BY run, instance;

INSERT INTO instance_checks (instance_id, minute, health, latency_ms, skew_ms, connections,
    max_connections, server_version, error)
SELECT instance, slot, CASE WHEN is_down THEN 'down' ELSE 'healthy' END,
    CASE WHEN NOT is_down THEN 1 + random() * 9 END, CASE WHEN NOT is_down THEN random() * 4 - 2 END,
    CASE WHEN NOT is_down THEN 40 END, CASE WHEN NOT is_down THEN 100 END,
    CASE WHEN is_down THEN '' ELSE '18.1' END,
    CASE WHEN is_down THEN label || ' can''t be reached at ' || name
        || '.rds.example.com:5432: check the network and its firewall' ELSE '' END
FROM parts WHERE sync = 'instance_health' ORDER BY slot, instance;

INSERT INTO user_route_removals (source_id, email, email_key, remote_instance_id, remote_tenant_id,
    removed_at, run_id)
SELECT 'r' || n || extract(epoch FROM %(until)s::timestamptz)::bigint,
    'person' || n || '@tenant' || n %% 100 || '.example.com',
    'person' || n || '@tenant' || n %% 100 || '.example.com', (n %% 200)::text, n::text,
    %(until)s, 1
FROM generate_series(1, %(removed)s) AS n;

INSERT INTO tenant_daily_counts (tenant_id, day, user_count, location_count)
SELECT id, (%(until)s::timestamptz - interval '1 second')::date, 12, 3 FROM tenant_master
ON CONFLICT DO NOTHING;
