from django.db import migrations, models

CHOICES = [
    ("healthy", "Healthy"),
    ("degraded", "Degraded"),
    ("refused", "Refused"),
    ("down", "Down"),
    ("unknown", "Unknown"),
]
# The way back: code of before knows no such word, and called these down.
BACK = """
    UPDATE rds_instances SET health = 'down' WHERE health = 'refused';
    UPDATE instance_checks SET health = 'down' WHERE health = 'refused';"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0015_forged_sessions_roles_and_mail"),
    ]

    operations = [
        migrations.AlterField(
            model_name="rdsinstance",
            name="health",
            field=models.CharField(
                choices=CHOICES, default="unknown", editable=False, max_length=8
            ),
        ),
        migrations.AlterField(
            model_name="instancecheck",
            name="health",
            field=models.CharField(choices=CHOICES, max_length=8),
        ),
        migrations.RemoveIndex(
            model_name="instancecheck",
            name="checks_with_problems",
        ),
        migrations.AddIndex(
            model_name="instancecheck",
            index=models.Index(
                fields=["minute"],
                condition=models.Q(health__in=["down", "refused", "degraded"]),
                name="checks_with_problems",
            ),
        ),
        migrations.RunSQL(migrations.RunSQL.noop, BACK),
    ]
