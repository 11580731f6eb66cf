"""Functions that run periodically, each in one process."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("syncs", "0012_rows_that_nothing_chokes_on")]
    operations = [
        migrations.CreateModel(
            "Periodic",
            fields=[
                (
                    "name",
                    models.CharField(max_length=255, primary_key=True, serialize=False),
                ),
                ("claimed_at", models.DateTimeField()),
            ],
        ),
    ]
