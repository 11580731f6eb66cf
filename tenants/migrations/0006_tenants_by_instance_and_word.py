"""Indexes of the list of tenants, and words of names and e-mails for its search."""

import django.db.models.deletion
from django.db import migrations, models

# Cut, so that an index holds any name; bodies are bound to what they call when they are made.
WORDS = """
CREATE FUNCTION rainbo_words(given text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ARRAY(SELECT left(word, 100)
               FROM regexp_split_to_table(lower(normalize(given, NFC)), '[^[:alnum:]]+') AS word
              WHERE word <> '')
"""
BEGINNINGS = """
CREATE FUNCTION rainbo_word_query(given text) RETURNS tsquery
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (SELECT string_agg(format('''%s'':*', word), ' & ')::tsquery
          FROM unnest(rainbo_words(given)) AS word)
"""
BY_WORD = """
CREATE INDEX tenants_by_word ON tenant_master USING gin
       (array_to_tsvector(rainbo_words(name || ' ' || coalesce(contact_email, ''))))
"""

# Each sync rewrites each tenant with its new time: where a page holds the old and the new row, no
# index has to be told.
ROOM = "ALTER TABLE tenant_master SET (fillfactor = 45)"


class Migration(migrations.Migration):
    dependencies = [("tenants", "0003_last_examinations")]
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
        migrations.RunSQL(WORDS, "DROP FUNCTION rainbo_words(text)"),
        migrations.RunSQL(BEGINNINGS, "DROP FUNCTION rainbo_word_query(text)"),
        migrations.RunSQL(BY_WORD, "DROP INDEX tenants_by_word"),
        migrations.RunSQL(ROOM, "ALTER TABLE tenant_master RESET (fillfactor)"),
    ]
