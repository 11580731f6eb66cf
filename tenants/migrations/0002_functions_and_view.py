"""The e-mail key, the decoder of unencoded text, and the view for SQL readers."""

from django.db import migrations

# NFC, then ASCII lower-casing. NFC itself turns three characters into ASCII look-alikes (the
# Kelvin sign into K, the Greek question mark into ;, the Greek varia into a grave accent: Unicode
# 17, UnicodeData.txt); text with one of them keeps its own form, so that it meets nobody else's.
EMAIL_KEY = r"""
CREATE FUNCTION rainbo_email_key(email text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN lower(CASE WHEN email ~ U&'[\212A\037E\1FEF]' THEN email ELSE normalize(email, NFC) END
             COLLATE "C")
"""

DECODE = """
CREATE FUNCTION rainbo_decode(bytes bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN NULL;
END
$$
"""

VIEW = """
CREATE VIEW user_email_routing_cache AS
SELECT route.email,
       route.rds_instance_id,
       tenant.id AS tenant_master_id,
       route.remote_user_id,
       route.user_name,
       route.status,
       (SELECT max(at) FROM syncs_confirmation WHERE sync = 'user_routing') AS synced_at
  FROM (SELECT *, CASE WHEN remote_instance_id ~ '^(0|[1-9][0-9]{0,8})$'
                       THEN remote_instance_id::integer END AS rds_instance_id
          FROM user_routes WHERE withheld_reason IS NULL) AS route
  LEFT JOIN tenant_master AS tenant
    ON tenant.instance_id = route.rds_instance_id AND tenant.remote_id = route.remote_tenant_id
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial"), ("syncs", "0001_initial")]
    operations = [
        migrations.RunSQL(EMAIL_KEY, "DROP FUNCTION rainbo_email_key(text)"),
        migrations.RunSQL(DECODE, "DROP FUNCTION rainbo_decode(bytea)"),
        migrations.RunSQL(VIEW, "DROP VIEW user_email_routing_cache"),
    ]
