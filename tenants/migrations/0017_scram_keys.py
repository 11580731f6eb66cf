from django.db import migrations, models

import common.encryption


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0016_logins_that_servers_reject"),
    ]

    operations = [
        migrations.CreateModel(
            name="ScramKeys",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("host", models.CharField(max_length=255)),
                ("port", models.PositiveIntegerField()),
                ("user", models.CharField(max_length=63)),
                ("keys", common.encryption.EncryptedField(editable=False, null=True)),
                ("at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "SCRAM keys",
                "verbose_name_plural": "SCRAM keys",
                "db_table": "scram_keys",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("host", "port", "user"), name="scram_keys_of_one_role_and_server"
                    )
                ],
            },
        ),
    ]
