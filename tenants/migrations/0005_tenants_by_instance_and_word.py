"""Indexes of the list of tenants, and words of names and e-mails for its search."""

import django.db.models.deletion
from django.db import migrations, models

BY_WORD = """
CREATE INDEX tenants_by_word ON tenant_master USING gin
       (array_to_tsvector(rainbo_name_words(name) ||
                          rainbo_name_words(coalesce(contact_email, ''))))
"""

# Each sync rewrites each tenant with its new time: where a page holds the old and the new row, no
# index has to be told.
ROOM = "ALTER TABLE tenant_master SET (fillfactor = 45)"


class Migration(migrations.Migration):
    dependencies = [("tenants", "0004_names")]
    operations = [
        migrations.AlterField(
            model_name="tenant",
            name="instance",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="tenants",
                to="tenants.rdsinstance",
            ),
        ),
        migrations.AddIndex(
            model_name="tenant",
            index=models.Index(fields=["instance", "id"], name="tenants_of_instance"),
        ),
        migrations.AddIndex(
            model_name="tenant",
            index=models.Index(
                fields=["status", "instance", "trial_ends_at"], name="tenants_by_status"
            ),
        ),
        migrations.AddIndex(
            model_name="tenant",
            index=models.Index(
                condition=models.Q(("vanished_at__isnull", False)),
                fields=["instance"],
                name="tenants_vanished",
            ),
        ),
        migrations.RunSQL(BY_WORD, "DROP INDEX tenants_by_word"),
        migrations.RunSQL(ROOM, "ALTER TABLE tenant_master RESET (fillfactor)"),
    ]
