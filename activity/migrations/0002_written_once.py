"""What people did is written once, and found by who, what, when and on what."""

from django.db import migrations, models

REFUSE = """
CREATE FUNCTION rainbo_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the record of what people did is never changed'
        USING ERRCODE = 'restrict_violation',
              HINT = 'docs/activity.md says how old entries are removed for privacy''s sake';
END
$$
"""
# Statement by statement, so that TRUNCATE is refused too, and so is what would touch no row.
GUARD = """
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON activity
FOR EACH STATEMENT EXECUTE FUNCTION rainbo_refuse_change()
"""
# Also while the server applies rows from elsewhere (session_replication_role = replica).
ALWAYS = "ALTER TABLE activity ENABLE ALWAYS TRIGGER written_once"


def prefix(column: str) -> migrations.RunSQL:
    """An index for the search by the beginning of a text, in capitals or not."""
    name = f"activity_{column}_prefix"
    return migrations.RunSQL(
        f"CREATE INDEX {name} ON activity (upper({column}) text_pattern_ops)",
        f"DROP INDEX {name}",
    )


def index(name: str, *fields: str) -> migrations.AddIndex:
    return migrations.AddIndex(
        model_name="activity", index=models.Index(fields=[*fields, "at", "id"], name=name)
    )


class Migration(migrations.Migration):
    dependencies = [
        ("activity", "0001_what_people_did"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="activity",
            options={
                "default_permissions": ("view",),
                "ordering": ["-at", "-id"],
                "verbose_name": "action",
                "verbose_name_plural": "actions",
            },
        ),
        index("activity_at"),
        index("activity_actor", "actor"),
        index("activity_action", "action"),
        index("activity_subject", "subject_kind", "subject_id"),
        prefix("actor"),
        prefix("subject"),
        migrations.RunSQL(REFUSE, "DROP FUNCTION rainbo_refuse_change()"),
        migrations.RunSQL(GUARD, "DROP TRIGGER written_once ON activity"),
        migrations.RunSQL(ALWAYS, migrations.RunSQL.noop),
    ]
