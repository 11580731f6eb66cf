"""Refuses schedules that would run anything but a sync: django-q resolves `func` by import."""

from django.db import migrations

ADD = """
ALTER TABLE django_q_schedule ADD CONSTRAINT only_our_schedules CHECK (
    func = 'syncs.tasks.run_slot'
    AND args ~ '^\\(''[a-z_]{1,64}'',\\)$'
    AND coalesce(kwargs, '') IN ('', '{}')
    AND coalesce(hook, '') = ''
    AND schedule_type = 'C'
    AND intended_date_kwarg = 'slot'
    AND func IS NOT NULL AND args IS NOT NULL AND intended_date_kwarg IS NOT NULL
)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0001_initial"),
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
    ]
    operations = [
        migrations.RunSQL(ADD, "ALTER TABLE django_q_schedule DROP CONSTRAINT only_our_schedules"),
    ]
