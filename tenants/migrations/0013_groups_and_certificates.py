"""Groups and labels of instances; until when certificates are valid; the lag of each check."""

import django.contrib.postgres.fields
import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0012_ghosts_by_choice"),
    ]

    operations = [
        migrations.AddField(
            model_name="instancecheck",
            name="replica_lag_s",
            field=models.FloatField(help_text="how old a replica's data was", null=True),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="ca_ends_at",
            field=models.DateTimeField(
                editable=False,
                help_text="until when the CA certificate given here is valid",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="certificate_ends_at",
            field=models.DateTimeField(
                editable=False,
                help_text="until when the server's TLS certificate is valid",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="certificate_of",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="digest of the address and CA that the certificates were read for",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="certificate_read_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="group",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="for example a region or a team; lists and alert channels can be limited to it",
                max_length=50,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A[A-Za-z0-9][A-Za-z0-9._/:=-]{0,49}\\Z",
                        "Use letters, digits and . _ / : = - after a first letter or digit, 50 at most.",
                    )
                ],
            ),
        ),
        migrations.AddField(
            model_name="rdsinstance",
            name="labels",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    max_length=50,
                    validators=[
                        django.core.validators.RegexValidator(
                            "\\A[A-Za-z0-9][A-Za-z0-9._/:=-]{0,49}\\Z",
                            "Use letters, digits and . _ / : = - after a first letter or digit, 50 at most.",
                        )
                    ],
                ),
                blank=True,
                db_default=[],
                default=list,
                help_text="words such as production or tier=gold; each works like a group",
                size=20,
            ),
        ),
        migrations.AddIndex(
            model_name="instancecheck",
            index=models.Index(
                condition=models.Q(("health__in", ["down", "degraded"])),
                fields=["minute"],
                name="checks_with_problems",
            ),
        ),
    ]
