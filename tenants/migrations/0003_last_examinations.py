import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_functions_and_view")]
    operations = [
        migrations.CreateModel(
            name="InstanceExamination",
            fields=[
                (
                    "instance",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="examination",
                        serialize=False,
                        to="tenants.rdsinstance",
                    ),
                ),
                ("at", models.DateTimeField()),
                ("findings", models.JSONField(default=list)),
            ],
            options={"db_table": "instance_examinations", "default_permissions": ()},
        ),
    ]
