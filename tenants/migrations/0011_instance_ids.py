"""Instance ids of ten digits, up to the last integer, wherever the directory names one."""

from django.db import migrations

# The bound of tenants.models.instance.parse_id. Not STRICT: a body that can be NULL is then put
# into the query. The inner CASE is evaluated only for what the outer one lets through.
INSTANCE_ID = """
CREATE FUNCTION rainbo_instance_id(remote_id text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN remote_id ~ '^(0|[1-9][0-9]{0,9})$'
            THEN CASE WHEN remote_id::bigint <= 2147483647 THEN remote_id::integer END END
"""
VIEW = """
CREATE OR REPLACE VIEW user_email_routing_cache AS
SELECT route.email,
       route.rds_instance_id,
       tenant.id AS tenant_master_id,
       route.remote_user_id,
       route.user_name,
       route.status,
       (SELECT max(at) FROM syncs_confirmation WHERE sync = 'user_routing') AS synced_at
  FROM (SELECT *, {number} AS rds_instance_id
          FROM user_routes WHERE withheld_reason IS NULL) AS route
  LEFT JOIN tenant_master AS tenant
    ON tenant.instance_id = route.rds_instance_id AND tenant.remote_id = route.remote_tenant_id
"""
NEW = VIEW.format(number="rainbo_instance_id(remote_instance_id)")
OLD = VIEW.format(
    number="CASE WHEN remote_instance_id ~ '^(0|[1-9][0-9]{0,8})$' "
    "THEN remote_instance_id::integer END"
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0010_owed_ghosts"), ("syncs", "0001_initial")]
    operations = [
        migrations.RunSQL(INSTANCE_ID, "DROP FUNCTION rainbo_instance_id(text)"),
        migrations.RunSQL(NEW, OLD),
    ]
