"""The key of an e-mail, in a form that PostgreSQL puts into the query; ASCII goes no detour."""

from django.db import migrations

# The same keys as before: text in ASCII is in NFC, and has none of the three characters. A STRICT
# function of this body would be called for each row.
EMAIL_KEY = r"""
CREATE OR REPLACE FUNCTION rainbo_email_key(email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(CASE WHEN octet_length(email) = char_length(email) THEN email
                  WHEN email ~ U&'[\212A\037E\1FEF]' THEN email
                  ELSE normalize(email, NFC) END COLLATE "C")
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_storage_of_routes")]
    operations = [migrations.RunSQL(EMAIL_KEY, migrations.RunSQL.noop)]
