"""Replicas, schema groups, and the version that made the keys of e-mails and names."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0008_quick_email_key"),
    ]

    operations = [
        migrations.AddField(
            model_name="rdsinstance",
            name="has_tenants",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="off for a server that holds the directory of e-mails only",
            ),
        ),
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
            name="schema_group",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="instances with one schema: their SQL files are in this folder of RAINBO_SOURCE_SQL; empty: the folder itself",
                max_length=50,
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
                db_default="",
                default="",
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
        migrations.CreateModel(
            name="SearchKeys",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                ("server_major", models.PositiveSmallIntegerField()),
                ("made_at", models.DateTimeField()),
            ],
            options={
                "db_table": "search_keys",
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="one_row_of_search_keys"
                    )
                ],
            },
        ),
    ]
