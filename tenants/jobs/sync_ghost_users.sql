-- Creates, reactivates and deactivates this installation's ghost users on one instance, in one
-- statement. Rows that are correct are not written, rows of others are never touched.
--
-- ids, emails, names: the admins that should have a ghost. installation: whose ghosts.
-- roles, which is not used here: what each admin's ghost may, by the instance's mapping, or null.
-- only: the admins to limit it to, or null for all. create: false leaves wanted ghosts unchanged.
-- Returns admin_id, remote_id, outcome, why.
--
-- A row of this installation that names an admin and is no longer a ghost (it was altered) is
-- reported and not touched; one of a leaver is inactive if its status says so. An e-mail that differs only in case blocks a new ghost:
-- a server may have a unique index on lower(email).
WITH wanted AS (
    SELECT * FROM unnest(%(ids)s::text[], %(emails)s::text[], %(names)s::text[])
        AS wanted (admin_id, email, name)
),
found AS (
    SELECT id, tenant_id, email, name, status, rainbo_admin_id, rainbo_installation,
           is_ghost_admin IS TRUE AS is_ghost,
           rainbo_installation IS NOT DISTINCT FROM %(installation)s::text AS is_here,
           coalesce(rainbo_admin_id, '') ~ '^[1-9][0-9]{0,17}$' AS names_admin,
           is_ghost_admin IS TRUE AND tenant_id IS NULL
               AND rainbo_installation IS NOT DISTINCT FROM %(installation)s::text
               AND coalesce(rainbo_admin_id, '') ~ '^[1-9][0-9]{0,17}$' AS is_own
      FROM users
     WHERE is_ghost_admin
        OR rainbo_installation = %(installation)s::text
        OR rainbo_admin_id = ANY (%(ids)s::text[])
        OR lower(email COLLATE "C") = ANY (%(emails)s::text[])
),
own AS (
    SELECT * FROM found
     WHERE is_own
       AND (%(only)s::text[] IS NULL OR rainbo_admin_id = ANY (%(only)s::text[]))
),
judged AS (
    SELECT wanted.admin_id, wanted.email, wanted.name, own.id AS own_id, own.status,
           (own.status, own.email, own.name)
               IS DISTINCT FROM ('Active', wanted.email, wanted.name) AS differs,
           (SELECT min(id::text) FROM found
             WHERE lower(found.email COLLATE "C") = wanted.email
               AND own.email IS DISTINCT FROM wanted.email
               AND found.id IS DISTINCT FROM own.id) AS has_email,
           (SELECT min(id::text) FROM found
             WHERE found.rainbo_admin_id = wanted.admin_id
               AND found.id IS DISTINCT FROM own.id) AS has_admin_id
      FROM wanted LEFT JOIN own ON own.rainbo_admin_id = wanted.admin_id
),
free AS (
    SELECT * FROM judged WHERE has_email IS NULL AND has_admin_id IS NULL AND %(create)s::boolean
),
created AS (
    INSERT INTO users (
        email, name, password, status, is_ghost_admin, rainbo_admin_id, rainbo_installation,
        updated_at
    )
    SELECT email, name, '!', 'Active', true, admin_id, %(installation)s::text, now()
      FROM free WHERE own_id IS NULL
        ON CONFLICT DO NOTHING
    RETURNING id, rainbo_admin_id
),
woken AS (
    UPDATE users
       SET email = free.email, name = free.name, status = 'Active', password = '!',
           updated_at = now()
      FROM free
     WHERE users.id = free.own_id AND free.differs
       AND users.is_ghost_admin AND users.tenant_id IS NULL
       AND users.rainbo_installation = %(installation)s::text
    RETURNING users.id
),
retired AS (
    UPDATE users
       SET status = 'Inactive', password = '!', updated_at = now()
      FROM own
     WHERE users.id = own.id AND users.status IS DISTINCT FROM 'Inactive'
       AND own.rainbo_admin_id NOT IN (SELECT admin_id FROM wanted)
       AND users.is_ghost_admin AND users.tenant_id IS NULL
       AND users.rainbo_installation = %(installation)s::text
    RETURNING users.id
)
SELECT judged.admin_id,
       coalesce(created.id, judged.own_id)::text AS remote_id,
       CASE WHEN created.id IS NOT NULL THEN 'created'
            WHEN woken.id IS NOT NULL AND judged.status IS DISTINCT FROM 'Active'
                THEN 'reactivated'
            WHEN woken.id IS NOT NULL THEN 'changed'
            WHEN NOT %(create)s::boolean THEN 'left'
            WHEN has_email IS NOT NULL OR has_admin_id IS NOT NULL THEN 'refused'
            WHEN own_id IS NOT NULL AND NOT differs THEN 'unchanged'
            ELSE 'missed'
       END AS outcome,
       CASE WHEN has_admin_id IS NOT NULL THEN format(
                'user %%s there carries its rainbo_admin_id and is no ghost of this '
                'installation', has_admin_id)
            WHEN has_email IS NOT NULL THEN format(
                'user %%s there has its e-mail and is no ghost of this installation', has_email)
       END AS why
  FROM judged
  LEFT JOIN created ON created.rainbo_admin_id = judged.admin_id
  LEFT JOIN woken ON woken.id = judged.own_id
UNION ALL
SELECT own.rainbo_admin_id, own.id::text,
       CASE WHEN retired.id IS NOT NULL THEN 'deactivated'
            WHEN own.status IS NOT DISTINCT FROM 'Inactive' THEN 'inactive'
            ELSE 'missed'
       END,
       NULL
  FROM own LEFT JOIN retired ON retired.id = own.id
 WHERE own.rainbo_admin_id NOT IN (SELECT admin_id FROM wanted)
UNION ALL
SELECT rainbo_admin_id, id::text,
       CASE WHEN is_here AND names_admin AND status IS NOT DISTINCT FROM 'Inactive'
                 AND rainbo_admin_id <> ALL (%(ids)s::text[]) THEN 'inactive'
            WHEN is_here AND names_admin THEN 'altered'
            ELSE 'unknown'
       END,
       concat(
           CASE WHEN rainbo_installation IS NULL THEN 'it is marked as a ghost of no installation'
                WHEN NOT is_ghost THEN 'it names this installation but is not marked as a ghost'
                WHEN tenant_id IS NOT NULL THEN 'it belongs to a tenant'
                ELSE 'it names no admin'
           END,
           CASE WHEN status IS DISTINCT FROM 'Inactive' THEN ', and it is still active' END)
  FROM found
 WHERE NOT is_own
   AND (is_here OR is_ghost AND rainbo_installation IS NULL)
   AND (%(only)s::text[] IS NULL
        OR is_here AND names_admin AND rainbo_admin_id = ANY (%(only)s::text[]))
UNION ALL
SELECT rainbo_admin_id, id::text, 'foreign', NULL
  FROM found
 WHERE is_ghost AND rainbo_installation <> %(installation)s::text;
