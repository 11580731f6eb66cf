from django.db import migrations, models

# What a person accepted was found by the held run, which can be pruned earlier.
CARRY_OVER = """
    UPDATE syncs_runtarget AS part SET accepted = true
      FROM syncs_syncrun AS holding JOIN syncs_runtarget AS kept ON kept.run_id = holding.id
     WHERE part.run_id = holding.accepted_by_id AND part.target = kept.target
       AND kept.state = 'held'"""


class Migration(migrations.Migration):
    dependencies = [
        ("syncs", "0014_clearer_help"),
    ]

    operations = [
        migrations.AddField(
            model_name="runtarget",
            name="accepted",
            field=models.BooleanField(
                db_default=False, default=False, help_text="a person had accepted what it published"
            ),
        ),
        migrations.AddField(
            model_name="runtarget",
            name="guarded_counts",
            field=models.JSONField(
                help_text="what the guard adds up over 24 h: rows of each kind of change", null=True
            ),
        ),
        migrations.AddField(
            model_name="runtarget",
            name="source",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="identity of the server",
                max_length=64,
            ),
        ),
        migrations.AlterField(
            model_name="heldchange",
            name="kind",
            field=models.CharField(
                choices=[
                    ("removed", "Removed"),
                    ("moved", "Moved"),
                    ("changed", "Changed"),
                    ("lowered", "Lowered"),
                ],
                max_length=8,
            ),
        ),
        migrations.AddIndex(
            model_name="runtarget",
            index=models.Index(
                condition=models.Q(("state", "held")), fields=["run"], name="held_parts"
            ),
        ),
        migrations.RunSQL(CARRY_OVER, migrations.RunSQL.noop),
    ]
