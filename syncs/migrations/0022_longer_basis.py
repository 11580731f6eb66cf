from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("syncs", "0021_keys_of_workers")]

    operations: ClassVar = [
        migrations.AlterField(
            model_name="confirmation",
            name="basis",
            field=models.CharField(
                blank=True,
                help_text="what the stored digests were computed from",
                max_length=500,
            ),
        ),
    ]
