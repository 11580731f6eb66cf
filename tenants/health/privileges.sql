-- The privileges on tables that RAINBO's role has by an ACL: its own (self), as their owner, through
-- PUBLIC, or through a role that it was made a member of. column: null for the whole table.
WITH me AS (
    SELECT oid, rolname::text AS name FROM pg_roles WHERE rolname = current_user
),
mine AS (
    SELECT oid, name, 'self' AS how FROM me
    UNION ALL
    SELECT 0, 'PUBLIC', 'public'
    UNION ALL
    SELECT role.oid, entered.rolname::text, 'role'
      FROM pg_roles AS role
      JOIN pg_auth_members AS membership ON membership.member = (SELECT oid FROM me)
      JOIN pg_roles AS entered
        ON entered.oid = membership.roleid AND pg_has_role(entered.oid, role.oid, 'USAGE')
     WHERE role.rolname <> current_user AND pg_has_role(role.oid, 'USAGE')
),
granted AS (
    SELECT class.oid, NULL::text AS column_name, acl.privilege_type, acl.grantee
      FROM pg_class AS class
     CROSS JOIN aclexplode(coalesce(class.relacl, acldefault('r', class.relowner))) AS acl
     WHERE class.relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL
    SELECT attribute.attrelid, attribute.attname::text, acl.privilege_type, acl.grantee
      FROM pg_attribute AS attribute
     CROSS JOIN aclexplode(attribute.attacl) AS acl
     WHERE attribute.attnum > 0 AND NOT attribute.attisdropped
)
SELECT namespace.nspname::text, class.relname::text, granted.privilege_type, granted.column_name,
       CASE WHEN granted.grantee = class.relowner THEN 'owner' ELSE mine.how END AS how, mine.name,
       ARRAY(SELECT attname::text FROM pg_attribute
              WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped
              ORDER BY attnum) AS columns
  FROM granted
  JOIN mine ON mine.oid = granted.grantee
  JOIN pg_class AS class ON class.oid = granted.oid
  JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
 WHERE granted.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
   AND class.relpersistence <> 't' AND namespace.nspname !~ '^(pg_|information_schema$)'
 ORDER BY 1, 2, 5, 6, 3, 4
