-- RAINBO's own tables as a fleet of any size would have filled them: what every sync read, did and
-- confirmed, and what people did. No server stands behind it. Parameters: now, first (id of the
-- first instance), instances, tenants, routes, runs, minutes (of checks), entries (of activity).
-- Run after believable.sql. A line that begins with --> names the step that follows.

--> Instances, and their checks of each minute
CREATE TEMP TABLE fleet ON COMMIT DROP AS SELECT
    id::int,
    (ARRAY['eu-central','us-east','eu-west','ap-south','us-west'])[1 + place %% 5]
        || '-' || lpad((1 + place / 5)::text, 2, '0') AS name,
    CASE WHEN place %% 67 = 4 THEN 'down' WHEN place %% 41 = 6 THEN 'degraded'
        ELSE 'healthy' END AS health,
    CASE WHEN place %% 67 = 4 THEN 40 ELSE 0 END AS silent, -- minutes
    greatest(1, %(tenants)s / %(instances)s) AS tenants
FROM generate_series(%(first)s, %(first)s + %(instances)s - 1) AS id,
    LATERAL (SELECT id - %(first)s AS place) AS p;

INSERT INTO rds_instances (id, name, host, port, database, "user", password, ssl_mode, ssl_ca,
    require_auth, app_url, is_active, is_master, notes, health, last_check_at, latency_ms,
    last_error, server_version, system_identifier, database_oid)
SELECT
    id, name, name || '.rds.example.com', 5432, 'app', 'rainbo', '', 'verify-full', '',
    'scram-sha-256', 'https://' || name || '.example.com', true, id = 1, '', health,
    %(now)s::timestamptz - interval '20 seconds',
    CASE WHEN health <> 'down' THEN 0.9 + id * 37 %% 50 / 10.0 END,
    CASE health
        WHEN 'down' THEN 'instance ' || id || ' (' || name || ') can''t be reached at ' || name
            || '.rds.example.com:5432: check the network and its firewall'
        WHEN 'degraded' THEN '91 of 100 connections are in use'
        ELSE '' END,
    CASE WHEN id %% 7 = 0 THEN '16.10' ELSE '17.6' END, (7400000000000000000 + id)::text, 16385
FROM fleet;

INSERT INTO instance_checks (instance_id, minute, health, latency_ms, skew_ms, connections,
    max_connections, server_version, error)
SELECT
    id,
    date_trunc('minute', %(now)s::timestamptz) - ago * interval '1 minute',
    CASE WHEN ago < silent THEN 'down' WHEN health = 'degraded' AND ago < 90 THEN 'degraded'
        WHEN ago %% 577 = id %% 577 THEN 'degraded' ELSE 'healthy' END,
    CASE WHEN ago >= silent THEN 0.9 + id * 37 %% 50 / 10.0
        + (1 + sin(ago / 90.0 + id)) * 0.6 + (ago * 7919 + id * 104729) %% 97 / 80.0 END,
    CASE WHEN ago >= silent THEN (id * 31 + ago) %% 40 / 10.0 - 2 END,
    CASE WHEN ago >= silent THEN 12 + (id + ago) %% 30 END,
    CASE WHEN ago >= silent THEN 100 END,
    CASE WHEN ago < silent THEN '' WHEN id %% 7 = 0 THEN '16.10' ELSE '17.6' END,
    CASE WHEN ago < silent THEN 'instance ' || id || ' (' || name || ') can''t be reached at '
        || name || '.rds.example.com:5432: check the network and its firewall' ELSE '' END
FROM fleet, generate_series(0, %(minutes)s - 1) AS ago
ORDER BY ago DESC, id;

--> Routes
CREATE TEMP TABLE customers ON COMMIT DROP AS SELECT
    id AS instance, number, silent, place || ' ' || trade AS name,
    lower(replace(place || '-' || trade, ' ', '-')) || number
        || (ARRAY['.example.com','.example.org','.example.net'])[1 + number %% 3] AS domain
FROM fleet, LATERAL generate_series(1, tenants) AS number, LATERAL (SELECT
    pg_temp.one_of('{Harbour,Northgate,Willow,Summit,Riverside,Maple,Beacon,Lakeview,Granite,
        Orchard,Meridian,Cedar,Crescent,Juniper,Kestrel,Larkfield,Millstone,Pinewood,Quarry,
        Redbrick,Saltmarsh,Thornbury,Vale,Westbridge}', 'place', id * 100000 + number) AS place,
    pg_temp.one_of('{Dental Care,Logistics,Veterinary Clinic,Outdoor,Bakeries,Physiotherapy,Legal,
        Hotels,Opticians,Fitness,Gardens,Print Works,Cycles,Childcare,Accounting,
        Language School}', 'trade', id * 100000 + number) AS trade) AS words;

CREATE TEMP TABLE people ON COMMIT DROP AS SELECT
    number, first || ' ' || last AS name,
    pg_temp.plain(first) || '.' || pg_temp.plain(last) AS address
FROM generate_series(0, 4998) AS number, LATERAL (SELECT pg_temp.first_name('big', number) AS first,
    pg_temp.last_name('big', number) AS last) AS called;
ANALYZE fleet, customers, people;

-- In this schema whatever comes first in the search path: pictures are taken with another first.
CREATE TABLE IF NOT EXISTS public.user_routes_all PARTITION OF user_routes
    FOR VALUES FROM (MINVALUE) TO (MAXVALUE) WITH (autovacuum_vacuum_scale_factor = 0.05);
INSERT INTO user_routes (source_id, email, email_key, remote_instance_id, on_master,
    remote_tenant_id, remote_user_id, user_name, status, source_updated_at, changed_at,
    withheld_reason)
SELECT
    (1000000000 + n)::text, mail, mail, fleet.id::text, fleet.id = 1,
    customers.number::text,
    (1 + n / %(instances)s)::text, people.name,
    CASE WHEN n %% 13 = 0 THEN 'Inactive' ELSE 'Active' END,
    %(now)s::timestamptz - n * 7 %% 129600 * interval '1 minute' - interval '1 hour',
    %(now)s::timestamptz - n * 7 %% 129600 * interval '1 minute' - interval '50 minutes',
    CASE WHEN n %% 4999 = 0 THEN 'account ' || n || ' of this tenant has the same e-mail' END
FROM generate_series(0, %(routes)s - 1) AS n
JOIN fleet ON fleet.id = %(first)s + n %% %(instances)s
JOIN customers ON instance = fleet.id
    AND customers.number = 1 + floor(fleet.tenants * (n * 7919::bigint %% 10007 / 10007.0) ^ 2)
JOIN people ON people.number = n %% 4999
CROSS JOIN LATERAL (SELECT people.address || n || '@' || domain AS mail) AS m;

INSERT INTO user_route_removals (source_id, email, email_key, remote_instance_id,
    remote_tenant_id, removed_at, run_id)
SELECT
    (2000000000 + n)::text, 'former' || n || '@' || domain, 'former' || n || '@' || domain,
    instance::text, number::text,
    %(now)s::timestamptz - n * interval '7 minutes', 1
FROM customers, LATERAL (SELECT instance * 1000 + number AS n) AS numbered WHERE number %% 5 = 0;

--> Tenants, and their history
CREATE TEMP TABLE sizes ON COMMIT DROP AS SELECT
    remote_instance_id::int AS instance, remote_tenant_id::int AS number, count(*) AS users
FROM user_routes WHERE source_id LIKE '1_________' COLLATE "C" GROUP BY 1, 2;
ANALYZE sizes, customers;

INSERT INTO tenant_master (instance_id, remote_id, name, contact_name, contact_email, status,
    trial_ends_at, subscription_started_at, user_count, location_count, last_activity_at,
    cache_refreshed_at, vanished_at)
SELECT
    instance, number::text, name, first || ' ' || last, pg_temp.plain(first) || '@' || domain,
    status,
    CASE WHEN status = 'trial' THEN
        %(now)s::timestamptz + (number * 11 %% 400 - 20) * interval '1 hour' END,
    CASE WHEN status <> 'trial' THEN
        %(now)s::timestamptz - (20 + number * 13 %% 1500) * interval '1 day' END,
    coalesce(users, 0), 1 + number %% 4,
    CASE WHEN users > 0 THEN
        %(now)s::timestamptz - (instance * 7 + number * 29) %% 3000 * interval '1 minute' END,
    %(now)s::timestamptz - interval '4 minutes' - silent * interval '1 minute',
    CASE WHEN number %% 211 = 7 THEN %(now)s::timestamptz - number * interval '1 hour' END
FROM customers
LEFT JOIN sizes USING (instance, number)
CROSS JOIN LATERAL (SELECT CASE WHEN number %% 17 = 4 THEN 'trial'
    WHEN number %% 29 = 11 THEN 'suspended' WHEN number %% 23 = 16 THEN 'cancelled'
    ELSE 'active' END AS status) AS s
CROSS JOIN LATERAL (SELECT pg_temp.first_name('contact', instance * 100000 + number) AS first,
    pg_temp.last_name('contact', instance * 100000 + number) AS last) AS contact
ORDER BY instance, number;

INSERT INTO tenant_changes (tenant_id, kind, before, after, at, run_id)
SELECT id, kind, before, after, %(now)s::timestamptz - (id %% 2000 + hours) * interval '1 hour', 1
FROM tenant_master, (VALUES ('status', 'trial', 'active', 900),
    ('name', 'Old Name Ltd', 'New Name Ltd', 400), ('vanished', '', '', 30), ('back', '', '', 29))
    AS change (kind, before, after, hours)
WHERE instance_id >= %(first)s AND remote_id::int %% 5 = 1
    AND (kind IN ('status', 'name') OR remote_id::int %% 50 = 1);

-- Ninety days of counts for each twenty-fifth tenant.
INSERT INTO tenant_daily_counts (tenant_id, day, user_count, location_count)
SELECT id, (%(now)s::timestamptz - ago * interval '1 day')::date,
    greatest(0, user_count - ago * user_count / 200 + (id + ago) %% 3), location_count
FROM tenant_master, generate_series(0, 89) AS ago
WHERE instance_id >= %(first)s AND remote_id::int %% 25 = 1;

--> Runs with their parts and logs
CREATE TEMP TABLE planned ON COMMIT DROP AS SELECT
    sync, k, began - k * every AS slot, usual * (1 + (k * 7 + 3) %% 11 / 10.0) AS seconds,
    CASE
        WHEN sync = 'instance_health' AND k < 40 THEN 'partial'
        WHEN sync = 'tenant_summaries' AND k < 3 THEN 'partial' -- the last 40 minutes, too
        WHEN sync = 'user_routing' AND k IN (0, 9) THEN 'held'
        WHEN sync = 'user_routing' AND k = 7 THEN 'succeeded'
        WHEN k %% 97 = 13 THEN 'failed'
        WHEN k %% 61 = 21 THEN 'partial'
        WHEN k %% 1009 = 17 THEN 'lost'
        ELSE 'succeeded' END AS state
FROM (VALUES
    ('instance_health', interval '1 minute', %(runs)s * 79 / 100, 1.4, interval '20 seconds'),
    ('user_routing', interval '5 minutes', %(runs)s * 16 / 100, 9.0, interval '3 minutes'),
    ('tenant_summaries', interval '15 minutes', %(runs)s * 5 / 100, 22.0, interval '4 minutes'),
    ('ghost_users', interval '1 day', least(90, %(runs)s / 10), 6.0, interval '9 hours')
) AS syncs (sync, every, count, usual, ago)
CROSS JOIN LATERAL generate_series(0, count - 1) AS k
CROSS JOIN LATERAL (SELECT %(now)s::timestamptz - ago AS began) AS b;

INSERT INTO syncs_syncrun (sync, state, trigger, actor, options, slot, attempt, created_at,
    started_at, finished_at, seconds, host, pid, cancel_requested_by, error)
SELECT
    sync, state, CASE WHEN k %% 50 = 7 THEN 'button' ELSE 'schedule' END,
    CASE WHEN k %% 50 = 7 THEN 'mia.kaya' ELSE '' END, '{}',
    CASE WHEN k %% 50 <> 7 THEN slot END, 1, slot, slot + interval '300 milliseconds',
    slot + (0.3 + seconds) * interval '1 second', seconds, 'console-1', 4711, '',
    CASE state WHEN 'failed' THEN 'no instance could be read'
        WHEN 'lost' THEN 'its process ended without closing it' ELSE '' END
FROM planned ORDER BY slot, sync;

-- Only the master has a directory of e-mails: the first instance, or one that was there before.
CREATE TEMP TABLE directory ON COMMIT DROP AS
    SELECT id, name, 0 AS silent, 0 AS tenants, 'healthy' AS health FROM rds_instances
     WHERE is_master;

-- The older of two held runs was accepted, the newer one waits.
UPDATE syncs_syncrun AS accepting SET options =
    jsonb_build_object('accept_held', held.id, 'reason', 'the shop moved to another instance')
FROM (SELECT id FROM syncs_syncrun WHERE sync = 'user_routing' AND state = 'held'
        ORDER BY id LIMIT 1) AS held
WHERE accepting.id = (SELECT id FROM syncs_syncrun
    WHERE sync = 'user_routing' AND trigger = 'button' ORDER BY id DESC LIMIT 1);
UPDATE syncs_syncrun AS held SET accepted_by_id = accepting.id FROM syncs_syncrun AS accepting
WHERE accepting.options ? 'accept_held' AND held.id = (accepting.options ->> 'accept_held')::bigint;

CREATE TEMP TABLE recent ON COMMIT DROP AS SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY sync ORDER BY id DESC) AS place FROM syncs_syncrun
) AS ranked WHERE place <= 30;

INSERT INTO syncs_runtarget (run_id, target, label, state, read, added, changed, removed, withheld,
    total, seconds, note, error, error_kind, passing)
SELECT
    recent.id, fleet.id::text, 'instance ' || fleet.id || ' (' || name || ')', outcome,
    CASE WHEN counts THEN size END, CASE WHEN counts THEN recent.id %% 3 END,
    CASE WHEN counts THEN (recent.id + fleet.id) %% 5 END,
    CASE WHEN NOT counts THEN NULL WHEN recent.state = 'held' THEN size / 4 ELSE 0 END,
    CASE WHEN counts THEN size / 4999 END, CASE WHEN counts THEN size END,
    recent.seconds / 2,
    CASE WHEN sync = 'instance_health' AND outcome = 'succeeded' THEN health || ', PostgreSQL 17.6'
        WHEN outcome = 'held' THEN 'would remove ' || size / 4 || ' of ' || size || ' rows' ELSE '' END,
    CASE WHEN outcome = 'failed' THEN 'instance ' || fleet.id || ' (' || name
        || ') can''t be reached at ' || name || '.rds.example.com:5432: check the network and its firewall'
        ELSE '' END,
    CASE WHEN outcome = 'failed' THEN 'connection' ELSE '' END, outcome = 'failed'
FROM recent
JOIN (SELECT id, name, silent, tenants, health, false AS is_master FROM fleet
      UNION ALL SELECT *, true FROM directory) AS fleet
  ON (sync = 'user_routing') = fleet.is_master
CROSS JOIN LATERAL (SELECT
    CASE WHEN recent.state = 'held' THEN 'held'
        WHEN recent.state IN ('failed', 'lost') THEN 'failed'
        WHEN recent.state = 'partial' AND silent > 0 THEN 'failed'
        ELSE 'succeeded' END AS outcome,
    CASE sync WHEN 'user_routing' THEN %(routes)s WHEN 'ghost_users' THEN 12 ELSE tenants END
        AS size) AS o
CROSS JOIN LATERAL (SELECT outcome <> 'failed' AND sync <> 'instance_health' AS counts) AS c
ON CONFLICT DO NOTHING;

INSERT INTO syncs_runlog (run_id, at, level, target, message)
SELECT run.id, run.finished_at, CASE part.state WHEN 'succeeded' THEN 'info' ELSE 'warning' END,
    part.target, part.label || ': ' || part.state || coalesce('; read ' || part.read, '')
FROM recent AS run JOIN syncs_runtarget AS part ON part.run_id = run.id
WHERE run.place <= 10
ORDER BY run.id, part.id;

INSERT INTO syncs_heldchange (run_id, target, kind, source_id, detail, tenant_instance, tenant)
SELECT run.id, directory.id::text, CASE WHEN n > %(routes)s / 4 THEN 'moved' ELSE 'removed' END,
    route.source_id,
    CASE WHEN n > %(routes)s / 4 THEN 'to instance ' || %(first)s ELSE route.email END,
    route.remote_instance_id, route.remote_tenant_id
FROM directory, (SELECT id FROM syncs_syncrun WHERE sync = 'user_routing' AND state = 'held'
        ORDER BY id DESC LIMIT 1) AS run,
    (SELECT source_id, email, remote_instance_id, remote_tenant_id, row_number() OVER () AS n
        FROM user_routes
        WHERE source_id LIKE '1_________' COLLATE "C" LIMIT %(routes)s / 4 + 3) AS route;

UPDATE syncs_runtarget AS part SET held_counts = counted.kinds
FROM (SELECT run_id, target, jsonb_object_agg(kind, changes) AS kinds
        FROM (SELECT run_id, target, kind, count(*) AS changes FROM syncs_heldchange
                GROUP BY 1, 2, 3) AS found GROUP BY 1, 2) AS counted
WHERE part.run_id = counted.run_id AND part.target = counted.target;

UPDATE syncs_runtarget AS part SET held_tenants = ranked.tenants
FROM (SELECT run_id, target, jsonb_build_object(
            'largest', jsonb_agg(jsonb_build_array(tenant_instance, tenant, kinds) ORDER BY place)
                FILTER (WHERE place <= 50),
            'others', count(*) FILTER (WHERE place > 50),
            'changes', coalesce(sum(changes) FILTER (WHERE place > 50), 0)) AS tenants
        FROM (SELECT run_id, target, tenant_instance, tenant, jsonb_object_agg(kind, changes)
                    AS kinds, sum(changes) AS changes, row_number() OVER (
                    ORDER BY sum(changes) DESC, tenant_instance::int, tenant::int) AS place
                FROM (SELECT run_id, target, tenant_instance, tenant, kind, count(*) AS changes
                        FROM syncs_heldchange GROUP BY 1, 2, 3, 4, 5) AS found
                GROUP BY 1, 2, 3, 4) AS each_tenant GROUP BY 1, 2) AS ranked
WHERE part.run_id = ranked.run_id AND part.target = ranked.target;

INSERT INTO syncs_confirmation (sync, target, at, run_id, rows, basis)
SELECT sync, fleet.id::text, run.started_at - silent * interval '1 minute', run.id,
    CASE sync WHEN 'user_routing' THEN %(routes)s WHEN 'instance_health' THEN 1
        WHEN 'ghost_users' THEN 12 ELSE tenants END, ''
FROM (SELECT id, silent, tenants, false AS is_master FROM fleet
      UNION ALL SELECT id, silent, tenants, true FROM directory) AS fleet
JOIN (SELECT DISTINCT ON (sync) id, sync, started_at FROM syncs_syncrun
    WHERE state IN ('succeeded', 'partial') ORDER BY sync, id DESC) AS run
  ON (run.sync = 'user_routing') = fleet.is_master
ON CONFLICT DO NOTHING;

--> People, their ghost users and what they did
INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff,
    is_active, date_joined)
SELECT '!', false, pg_temp.plain(first) || '.' || pg_temp.plain(last), first, last,
    pg_temp.plain(first) || '.' || pg_temp.plain(last) || '@example.com', true, n %% 10 <> 9,
    %(now)s::timestamptz - (400 - n) * interval '1 day'
FROM generate_series(1, 12) AS n, LATERAL (SELECT pg_temp.first_name('admin', n) AS first,
    pg_temp.last_name('admin', n) AS last) AS called
ON CONFLICT DO NOTHING;

-- Most are support; one of six has left support, and the instances still know her.
INSERT INTO auth_user_groups (user_id, group_id)
SELECT admin.id, auth_group.id
FROM auth_user AS admin JOIN auth_group ON auth_group.name = 'support_admin'
WHERE admin.email LIKE '%%@example.com' AND admin.password = '!' AND admin.id %% 6 <> 5
ON CONFLICT DO NOTHING;

INSERT INTO ghost_users (admin_id, instance_id, remote_id, wanted, confirmed, confirmed_at,
    last_error)
SELECT admin.id, fleet.id, (7200 + admin.id)::text,
    CASE WHEN is_active THEN 'active' ELSE 'inactive' END,
    CASE WHEN silent > 0 THEN 'unknown' WHEN (admin.id * 7 + fleet.id) %% 101 = 3 THEN 'refused'
        WHEN is_active THEN 'active' ELSE 'inactive' END,
    CASE WHEN silent = 0 THEN %(now)s::timestamptz - interval '9 hours' END,
    CASE WHEN (admin.id * 7 + fleet.id) %% 101 = 3 AND silent = 0
        THEN 'refused: another account is in the way' ELSE '' END
FROM (SELECT id, is_active FROM auth_user WHERE is_staff ORDER BY id) AS admin, fleet
ON CONFLICT DO NOTHING;

INSERT INTO activity (at, actor, actor_id, address, action, subject, subject_kind, subject_id,
    before, after)
SELECT
    %(now)s::timestamptz - n * interval '11 minutes' - interval '2 minutes',
    admin.username, admin.id, ('10.1.2.' || n %% 200)::inet, action, subject, kind,
    CASE WHEN kind <> '' THEN (1 + n %% 50)::text ELSE '' END, before, after
FROM generate_series(1, %(entries)s) AS n
JOIN (SELECT id, username, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS people
        FROM auth_user WHERE is_staff) AS admin ON admin.place = n %% admin.people
CROSS JOIN LATERAL (SELECT n * 5 %% 7 AS which) AS w
JOIN (VALUES
    (0, 'person.signed_in', '', '', NULL::jsonb, NULL::jsonb),
    (1, 'run.requested', 'user_routing', 'syncs.syncrun', NULL, '{"trigger": "button"}'),
    (2, 'schedule.paused', 'schedule of user_routing', 'syncs.syncschedule', NULL,
        jsonb_build_object('reason', 'moving a shop', 'until',
            to_char(%(now)s::timestamptz + interval '2 days', 'YYYY-MM-DD HH24:MI "UTC"'))),
    (3, 'instance.changed', 'instance 1', 'tenants.rdsinstance', '{"port": 5432}', '{"port": 5433}'),
    (4, 'person.sign_in_failed', '', '', NULL, NULL),
    (5, 'run.cancelled', 'tenant_summaries', 'syncs.syncrun', NULL, NULL),
    (6, 'user.deactivated', 'a former admin', 'auth.user', '{"is_active": true}',
        '{"is_active": false}')
) AS done (number, action, subject, kind, before, after) ON done.number = which
ORDER BY n DESC;

ANALYZE;
