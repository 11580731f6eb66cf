"""Since when: what a change of the note or a pause used to blur."""

from django.db import migrations, models
from django.db.models.functions import Now

CARRY_OVER = "UPDATE syncs_syncschedule SET planned_since = changed_at"


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0008_who_accepts"),
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
        migrations.RunSQL(CARRY_OVER, migrations.RunSQL.noop),
    ]
