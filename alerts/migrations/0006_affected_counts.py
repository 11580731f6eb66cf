from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0005_sources_and_attempts"),
    ]

    operations = [
        migrations.AddField(
            model_name="incident",
            name="affected_counts",
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
