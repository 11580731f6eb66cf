"""Refuses what no page could show, no worker could count with, and what would never fire."""

from importlib import import_module

from django.db import migrations

# A pause that people asked for ends a year later at most; one at the end of time broke every page.
SHORTEN = """
UPDATE syncs_syncschedule SET paused_until = clock_timestamp() + interval '1 year'
 WHERE paused_until >= '2200-01-01+00'
"""
RESUME = """
UPDATE syncs_syncschedule SET paused_until = NULL WHERE paused_until < '2000-01-01+00'
"""
PAUSES = """
ALTER TABLE syncs_syncschedule ADD CONSTRAINT only_pauses_that_end CHECK (
    paused_until >= '2000-01-01+00' AND paused_until < '2200-01-01+00'
)
"""
# A time too far ahead is brought back by the next start of the workers.
POSTPONE = """
UPDATE django_q_schedule SET next_run = '2199-01-01+00'
 WHERE next_run IS NULL OR next_run < '2020-01-01+00' OR next_run >= '2200-01-01+00'
"""
UNBIND = """
UPDATE django_q_schedule
   SET cluster = NULL, repeats = CASE repeats WHEN 0 THEN 0 ELSE -1 END
 WHERE cluster IS NOT NULL OR repeats NOT IN (0, -1)
"""
ROWS = """
ALTER TABLE django_q_schedule ADD CONSTRAINT only_rows_that_fire CHECK (
    next_run IS NOT NULL AND next_run >= '2020-01-01+00' AND next_run < '2200-01-01+00'
    AND cluster IS NULL AND repeats IN (0, -1)
)
"""
FITTING = """
    jsonb_typeof(options) = 'object'
    AND jsonb_typeof(coalesce(options -> 'targets', '[]')) = 'array'
    AND NOT jsonb_path_exists(options, '$.targets[*] ? (@.type() != "string")')
"""
SWITCH_OFF = f"""
UPDATE django_q_schedule SET repeats = 0
 WHERE id IN (SELECT schedule_id FROM syncs_syncschedule WHERE NOT ({FITTING}))
"""  # noqa: S608 (no value of anybody's)
EMPTY = f"""
UPDATE syncs_syncschedule
   SET options = '{{}}', note = note || ' Switched off: its options made no sense.'
 WHERE NOT ({FITTING})
"""  # noqa: S608 (no value of anybody's)
OPTIONS = f"ALTER TABLE syncs_syncschedule ADD CONSTRAINT only_options_that_fit CHECK ({FITTING})"

# As before, and rhythms on late days of a range of months, or also on a weekday, which do come.
before = import_module("syncs.migrations.0007_rhythms_that_come")
RANGE = (
    "^[^ ]+ [^ ]+ [^ ]+ ([^ ]+,)?((0?[13578]|1[02])-[0-9]+|[0-9]+-(0?[13578]|1[02])"
    "|0?2-(0?[469]|11)|0?4-(0?[69]|11)|0?6-(0?9|11)|0?9-11)(,[^ ]+)? "
)
WEEKDAY = "^([^ ]+ ){4}[^ *]+$"
FORGET_RHYTHMS = "ALTER TABLE django_q_schedule DROP CONSTRAINT IF EXISTS only_rhythms_that_come"
RHYTHMS = f"""
ALTER TABLE django_q_schedule ADD CONSTRAINT only_rhythms_that_come CHECK (
    cron IS NOT NULL AND cron ~ '{before.SHAPE}'
    AND (cron !~ '{before.LATE}' OR cron ~ '{before.HAS_31}' OR cron ~ '{before.HAS_30}'
         OR cron ~ '{RANGE}' OR cron ~ '{WEEKDAY}')
)
"""

# What is there and would be refused. The keys are looked at first: no table changes while they wait.
MEND = [
    "SET CONSTRAINTS ALL IMMEDIATE",
    *(SHORTEN, RESUME, POSTPONE, UNBIND, SWITCH_OFF, EMPTY),
]


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0011_digests_of_integers"),
    ]
    operations = [
        migrations.RunSQL([*MEND], migrations.RunSQL.noop),
        migrations.RunSQL(
            PAUSES, "ALTER TABLE syncs_syncschedule DROP CONSTRAINT only_pauses_that_end"
        ),
        migrations.RunSQL(
            ROWS, "ALTER TABLE django_q_schedule DROP CONSTRAINT only_rows_that_fire"
        ),
        migrations.RunSQL([FORGET_RHYTHMS, RHYTHMS], [FORGET_RHYTHMS, before.ADD]),
        migrations.RunSQL(
            OPTIONS, "ALTER TABLE syncs_syncschedule DROP CONSTRAINT only_options_that_fit"
        ),
    ]
