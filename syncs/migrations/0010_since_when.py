"""Since when a schedule is planned so and paused, and a task queued by the database's clock.

django-q writes the time of its own server beside a task: of one whose clock is behind, every task
would seem to have waited for long.
"""

from django.db import migrations, models
from django.db.models.functions import Now

CARRY_OVER = "UPDATE syncs_syncschedule SET planned_since = changed_at"
QUEUED_SINCE = """
ALTER TABLE django_q_ormq
  ADD COLUMN rainbo_since timestamptz NOT NULL DEFAULT clock_timestamp()
"""


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0009_discarded_runs"),
    ]
    operations = [
        migrations.AddField(
            model_name="syncschedule",
            name="planned_since",
            field=models.DateTimeField(
                db_default=Now(), help_text="when its rhythm was set or it was switched on or off"
            ),
        ),
        migrations.AddField(
            model_name="syncschedule",
            name="paused_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(QUEUED_SINCE, "ALTER TABLE django_q_ormq DROP COLUMN rainbo_since"),
        migrations.RunSQL(CARRY_OVER, migrations.RunSQL.noop),
    ]
