"""Where an instance is, if it is a replica, and the timeline that it was last on."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0008_quick_email_key"),
    ]

    operations = [
        migrations.AddField(
            model_name="rdsinstance",
            name="is_replica",
            field=models.BooleanField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="replica_lag_s",
            field=models.FloatField(
                editable=False,
                help_text="how old a replica's data was at the last check",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="timeline",
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="writer_host",
            field=models.CharField(
                blank=True,
                help_text="where ghost users are written, if the host is a replica; empty: the host itself",
                max_length=255,
            ),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="writer_port",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="empty: the same port",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(65535),
                ],
            ),
        ),
    ]
