from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("syncs", "0022_longer_basis")]

    operations: ClassVar = [
        migrations.AddField("heldchange", "tenant_instance", models.TextField(null=True)),
        migrations.AddField("heldchange", "tenant", models.TextField(null=True)),
        migrations.AddField(
            "runtarget",
            "held_tenants",
            models.JSONField(
                null=True,
                help_text="of what is held: the tenants with most changes, and how many more",
            ),
        ),
    ]
