"""Rejects cron lines that croniter, which django-q evaluates them with, reads otherwise than cron.

Stored lines are rewritten as `syncs.schedules.crontab` normalized them then; those that cron would read
otherwise keep the times at which they ran. A function can judge what a pattern can't: ranges with
steps, and whether a month has such a day.
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from syncs.migrations import _cron_lines_of_0016 as cron_lines

SHAPE = "^" + " ".join(cron_lines.SHAPES) + "$"
FUNCTION = f"""
CREATE OR REPLACE FUNCTION syncs_is_cron(cron text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $function$
    SELECT CASE WHEN cron IS NULL OR cron !~ '{SHAPE}' THEN false ELSE (
        WITH parts AS (
            SELECT nr, part LIKE '*%' AS is_star, n[1]::integer AS low,
                   coalesce(n[2], n[1])::integer AS high, n[2] IS NOT NULL AS is_range,
                   coalesce(n[3]::integer, 1) AS step
              FROM regexp_split_to_table(cron, ' ') WITH ORDINALITY AS fields (field, nr),
                   regexp_split_to_table(field, ',') AS part,
                   regexp_match(part, '^(?:[*]|([0-9]+)(?:-([0-9]+))?)(?:/([0-9]+))?$') AS n
        )
        SELECT NOT bool_or(is_range AND low = high)
           AND NOT bool_or(is_range AND nr = 5 AND low = 7)
           AND NOT bool_or(step > 1 AND low > high)
           AND cron !~ '^([^ ]+ ){{2}}[*][^ ]+ [^ ]+ [^*]'
           AND cron !~ '^([^ ]+ ){{2}}[^*][^ ]* [^ ]+ [*][^ ]'
           AND cron !~ '^([^ ]+ ){{2}}[*][^ ]+ [^ ]+ [*][^ ]'
           AND (cron ~ '[^*]$' OR EXISTS (
                SELECT FROM parts, generate_series(1, 12) AS month
                 WHERE nr = 4
                   AND CASE WHEN is_star THEN (month - 1) % step = 0
                            WHEN low > high THEN month >= low OR month <= high
                            ELSE month BETWEEN low AND high AND (month - low) % step = 0 END
                   AND (SELECT min(CASE WHEN is_star OR low > high THEN 1 ELSE low END)
                          FROM parts WHERE nr = 3)
                       <= ('{{31,29,31,30,31,30,31,31,30,31,30,31}}'::integer[])[month]))
          FROM parts
    ) END
$function$
"""  # noqa: S608 (no value of anybody's)
ADD = f"""{FUNCTION};
ALTER TABLE django_q_schedule ADD CONSTRAINT only_rhythms_that_come CHECK (syncs_is_cron(cron))
"""
FORGET = "ALTER TABLE django_q_schedule DROP CONSTRAINT IF EXISTS only_rhythms_that_come"


def rewrite(apps: Apps, _: BaseDatabaseSchemaEditor | None) -> None:
    """Write the stored lines so that they mean what they did."""
    for row in apps.get_model("django_q", "Schedule").objects.exclude(cron=None):
        cron = cron_lines.normalize(row.cron)
        cron = cron_lines.replace_ambiguous(cron) if cron_lines.is_problem(cron) else cron
        if cron != row.cron:
            row.cron = cron
            row.save(update_fields=["cron"])


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0015_what_guards_add_up"),
    ]
    operations = [
        migrations.RunSQL(["SET CONSTRAINTS ALL IMMEDIATE", FORGET], migrations.RunSQL.noop),
        migrations.RunPython(rewrite, migrations.RunPython.noop),
        migrations.RunSQL(
            ["SET CONSTRAINTS ALL IMMEDIATE", ADD],
            [FORGET, "DROP FUNCTION syncs_is_cron(text)"],
        ),
    ]
