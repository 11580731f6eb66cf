from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0004_schedules_of_ours"),
    ]

    operations = [
        migrations.AddField(
            model_name="syncrun",
            name="cancel_requested_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="cancel_requested_by",
            field=models.CharField(blank=True, max_length=150),
        ),
    ]
