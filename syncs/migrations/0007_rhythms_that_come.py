"""Refuses rhythms that django-q can't evaluate: one of them would stop every schedule.

Removes what remembered which schedules a person took away: the row of a sync stays now.
"""

from django.db import migrations

SLOTS = {
    "minute": "[0-5]?[0-9]",
    "hour": "([01]?[0-9]|2[0-3])",
    "day": "(0?[1-9]|[12][0-9]|3[01])",
    "month": "(0?[1-9]|1[0-2])",
    "weekday": "[0-7]",
}


def field(slot: str) -> str:
    part = f"(\\*|{slot}(-{slot})?)(/[1-9][0-9]?)?"
    return f"{part}(,{part})*"


SHAPE = "^" + " ".join(field(slot) for slot in SLOTS.values()) + "$"
# Only days from the 30th on: some month that has them must be named.
LATE = "^[^ ]+ [^ ]+ 3[01](-[0-9]+)?(/[0-9]+)?(,3[01](-[0-9]+)?(/[0-9]+)?)* "
HAS_31 = "^[^ ]+ [^ ]+ [^ ]+ ([^ ]+,)?(\\*(/[0-9]+)?|0?[13578]|10|12)(,[^ ]+)? "
HAS_30 = "^[^ ]+ [^ ]+ ([^ ]+,)?30(,[^ ]+)? ([^ ]+,)?(0?[13-9]|1[0-2])(,[^ ]+)? "
ADD = f"""
ALTER TABLE django_q_schedule ADD CONSTRAINT only_rhythms_that_come CHECK (
    cron IS NOT NULL AND cron ~ '{SHAPE}'
    AND (cron !~ '{LATE}' OR cron ~ '{HAS_31}' OR cron ~ '{HAS_30}')
)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0006_worker_events"),
    ]
    operations = [
        migrations.RunSQL(
            ADD, "ALTER TABLE django_q_schedule DROP CONSTRAINT IF EXISTS only_rhythms_that_come"
        ),
        migrations.DeleteModel(name="DefaultSchedule"),
    ]
