"""People by any word of their name, and the orders in which tenants can be listed."""

from django.db import migrations, models
from django.db.models.functions import Collate

# 3 s and 10 MB for a million names of 40,000 different words.
BY_WORD = """
CREATE INDEX routes_by_word ON user_routes USING gin
       (array_to_tsvector(rainbo_name_words(user_name)))
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0017_scram_keys")]
    operations = [
        migrations.RunSQL(BY_WORD, "DROP INDEX routes_by_word"),
        migrations.AddIndex(
            model_name="tenant",
            index=models.Index(
                Collate(models.Func("name", function="rainbo_name_key"), "C"),
                "id",
                name="tenants_by_name",
            ),
        ),
        migrations.AddIndex(
            model_name="tenant",
            index=models.Index(fields=["trial_ends_at", "id"], name="tenants_by_trial_end"),
        ),
        migrations.AddIndex(
            model_name="tenant",
            index=models.Index(
                models.F("last_activity_at").desc(nulls_last=True),
                models.F("id").desc(),
                name="tenants_by_activity",
            ),
        ),
        migrations.AddIndex(
            model_name="tenant",
            index=models.Index(
                models.F("user_count").desc(nulls_last=True),
                models.F("id").desc(),
                name="tenants_by_users",
            ),
        ),
        migrations.AlterModelOptions(
            name="tenant",
            options={
                "ordering": ["instance", "id"],
                "permissions": [("export_tenant", "Can export tenants with their contacts")],
            },
        ),
    ]
