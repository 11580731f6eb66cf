-- Believable tenants, people and locations of one instance (parameter: its id), of what
-- believable.sql makes; times are relative to now.
CREATE TEMP TABLE choice ON COMMIT DROP AS SELECT
    24 AS tenants,
    7200 AS users,
    120 AS advisors, -- people who work for tenants of several instances, under one e-mail
    '{Harbour,Northgate,Willow,Summit,Riverside,Maple,Beacon,Lakeview,Granite,Orchard,Meridian,
      Cedar,Crescent,Juniper,Kestrel,Larkfield,Millstone,Pinewood,Quarry,Redbrick,Saltmarsh,
      Thornbury,Vale,Westbridge}'::text[] AS places,
    '{Dental Care,Logistics,Veterinary Clinic,Outdoor,Bakeries,Physiotherapy,Legal,Hotels,Opticians,
      Fitness,Gardens,Print Works,Cycles,Childcare,Accounting,Language School}'::text[] AS trades,
    '{Main Street,Station,Old Town,Airport,West End,University,Market Square,Lakeside,
      Business Park,North}'::text[] AS districts;

CREATE TEMP TABLE plan ON COMMIT DROP AS SELECT
    number,
    places[1 + (number * 5 + %(id)s * 7) %% cardinality(places)] || ' '
        || trades[1 + (number * 7 + %(id)s * 3) %% cardinality(trades)] AS name,
    CASE
        WHEN number IN (4, 9, 13, 18, 24) THEN 'trial'
        WHEN number = 11 THEN 'suspended'
        WHEN number IN (16, 21) THEN 'cancelled'
        ELSE 'active'
    END AS status,
    CASE WHEN number IN (4, 9, 13, 18, 24) THEN now() - interval '12 days'
        ELSE now() - make_interval(days => 30 + floor(pg_temp.chance('age %(id)s', number) * 1500)::int)
    END AS started
FROM choice, generate_series(1, tenants) AS number;

INSERT INTO tenants (name, status, primary_contact_name, primary_contact_email, trial_ends_at,
    subscription_started_at, created_at, updated_at)
SELECT
    name,
    status,
    contact.first || ' ' || contact.last,
    pg_temp.plain(contact.first) || '@' || replace(lower(name), ' ', '-') || domain.ending,
    CASE number
        WHEN 4 THEN now() + interval '20 hours'
        WHEN 9 THEN now() + interval '2 days'
        WHEN 13 THEN now() - interval '1 day'
        WHEN 18 THEN now() + interval '9 days'
        WHEN 24 THEN now() + interval '13 days'
    END,
    CASE WHEN status <> 'trial' THEN started + interval '14 days' END,
    started,
    now() - make_interval(hours => floor(pg_temp.chance('updated %(id)s', number) * 900)::int)
FROM plan
CROSS JOIN LATERAL (SELECT
    pg_temp.first_name('contact %(id)s', number) AS first,
    pg_temp.last_name('contact %(id)s', number) AS last) AS contact
CROSS JOIN LATERAL (SELECT
    (ARRAY['.example.com', '.example.org', '.example.net'])[1 + number %% 3] AS ending) AS domain
ORDER BY number;

-- Tenants differ in size: the first are the largest, the last has nobody yet.
CREATE TEMP TABLE people ON COMMIT DROP AS SELECT
    person,
    person <= advisors AS advises,
    1 + floor((tenants - 1) * pg_temp.chance('tenant %(id)s', person) ^ 2)::int AS tenant,
    now() - pg_temp.chance('joined %(id)s', person) * interval '1500 days' AS joined,
    pg_temp.first_name(origin, person) AS first,
    pg_temp.last_name(origin, person) AS last
FROM choice,
    generate_series(1, users) AS person,
    LATERAL (SELECT CASE WHEN person <= advisors THEN 'advisor' ELSE 'user %(id)s' END) AS o (origin);

CREATE TEMP TABLE accounts ON COMMIT DROP AS SELECT
    people.*,
    plan.status,
    greatest(joined, started) AS opened,
    pg_temp.plain(first) || '.' || pg_temp.plain(last)
        || coalesce(nullif(row_number() OVER same_name, 1)::text, '')
        || CASE WHEN advises THEN '@advisors.example.net'
           ELSE substring(primary_contact_email FROM '@.*') END AS email
FROM people
JOIN tenants ON tenants.id = tenant
JOIN plan ON plan.number = tenant
WINDOW same_name AS (PARTITION BY advises, CASE WHEN advises THEN 0 ELSE tenant END, first, last
    ORDER BY person);

INSERT INTO users (tenant_id, email, name, status, last_login_at, created_at, updated_at)
SELECT
    tenant,
    -- As people typed it: the same person differs in case from one instance to another.
    CASE WHEN pg_temp.chance('case %(id)s', person) < 0.04 THEN initcap(email) ELSE email END,
    first || ' ' || last,
    CASE WHEN status = 'cancelled' OR pg_temp.chance('status %(id)s', person) < 0.08
        THEN 'Inactive' ELSE 'Active' END,
    CASE WHEN pg_temp.chance('login %(id)s', person) < 0.9 THEN greatest(opened,
        now() - CASE status WHEN 'cancelled' THEN interval '90 days'
                WHEN 'suspended' THEN interval '21 days' ELSE interval '0' END
            - pg_temp.chance('login %(id)s', -person) ^ 3 * interval '120 days') END,
    opened,
    greatest(opened, now() - pg_temp.chance('changed %(id)s', person) * interval '40 days')
FROM accounts
ORDER BY person;

-- An account that somebody made twice: two spellings of one e-mail in one tenant.
INSERT INTO users (tenant_id, email, name, created_at, updated_at)
SELECT tenant_id, upper(email), name, now() - interval '50 days', now() - interval '50 days'
FROM users WHERE id = 200;

INSERT INTO locations (tenant_id, name)
SELECT plan.number, districts[1 + (plan.number + place) %% cardinality(districts)]
FROM choice, plan, LATERAL generate_series(
    1, 1 + floor(pg_temp.chance('locations %(id)s', plan.number) ^ 2 * 9)::int) AS place
ORDER BY plan.number, place;
