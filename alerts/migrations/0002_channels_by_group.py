"""Channels for the instances of some groups or labels."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0001_rules_incidents_channels"),
    ]

    operations = [
        migrations.AddField(
            model_name="channel",
            name="groups",
            field=models.JSONField(
                blank=True, db_default=[], default=list, help_text="of instances; empty: all"
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="labels",
            field=models.JSONField(
                blank=True, db_default=[], default=list, help_text="of instances; empty: all"
            ),
        ),
    ]
