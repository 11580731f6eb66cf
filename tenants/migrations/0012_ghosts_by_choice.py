"""Whether an instance keeps ghost users."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0011_instance_ids"),
    ]

    operations = [
        migrations.AddField(
            model_name="rdsinstance",
            name="has_ghosts",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="off where nobody enters as support; ghost users of people who left are retired",
                verbose_name="has ghost users",
            ),
        ),
    ]
