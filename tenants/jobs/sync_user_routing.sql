-- The directory of e-mails on the master: one row per account of a person in a tenant.
-- rds_instance_id is null for the master's own tenants.
SELECT id, email, tenant_id, rds_instance_id, user_id, user_name, status, updated_at
  FROM user_email_routing
