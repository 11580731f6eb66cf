-- The accounts of people on one instance, without ghost users: what a live look-up asks it for.
-- RAINBO adds the condition: by e-mail or by id.
SELECT id, tenant_id, email, name, status, last_login_at
  FROM users
 WHERE is_ghost_admin IS NOT TRUE
