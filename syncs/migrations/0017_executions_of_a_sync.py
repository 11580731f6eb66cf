from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0016_cron_lines_of_one_meaning"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="syncrun",
            index=models.Index(
                fields=["sync", "finished_at"],
                include=["state", "seconds"],
                condition=Q(state__in=["succeeded", "partial", "held", "failed", "lost"])
                & ~Q(options__has_key="dry_run"),
                name="executions_of_a_sync",
            ),
        ),
    ]
