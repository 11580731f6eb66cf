"""Refuses what no page could show and no worker could count with."""

from django.db import migrations

# A pause that people asked for ends a year later at most; one at the end of time broke every page.
CAP = """
UPDATE syncs_syncschedule SET paused_until = clock_timestamp() + interval '1 year'
 WHERE paused_until >= '2200-01-01+00'
"""
UNPAUSE = """
UPDATE syncs_syncschedule SET paused_until = NULL WHERE paused_until < '2000-01-01+00'
"""
PAUSES = """
ALTER TABLE syncs_syncschedule ADD CONSTRAINT only_pauses_that_end CHECK (
    paused_until >= '2000-01-01+00' AND paused_until < '2200-01-01+00'
)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0008_who_accepts"),
    ]
    operations = [
        migrations.RunSQL([CAP, UNPAUSE], migrations.RunSQL.noop),
        migrations.RunSQL(
            PAUSES, "ALTER TABLE syncs_syncschedule DROP CONSTRAINT only_pauses_that_end"
        ),
    ]
