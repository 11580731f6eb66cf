"""By which SQL files an instance is read, and whether it holds tenants."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0009_replicas"),
    ]

    operations = [
        migrations.AddField(
            model_name="rdsinstance",
            name="has_tenants",
            field=models.BooleanField(
                default=True, help_text="off for a server that holds the directory of e-mails only"
            ),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="schema_group",
            field=models.CharField(
                blank=True,
                help_text="instances with one schema: their SQL files are in this folder of RAINBO_SOURCE_SQL; empty: the folder itself",
                max_length=50,
            ),
        ),
    ]
