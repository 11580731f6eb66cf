-- The user accounts of one instance, without ghost users: the query of a live look-up.
-- RAINBO adds the condition: by e-mail or by id.
SELECT id, tenant_id, email, name, status, last_login_at
  FROM users
 WHERE is_ghost_admin IS NOT TRUE
