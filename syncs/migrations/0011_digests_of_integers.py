"""Digests are made of integers. Those that were kept are made anew by the next sync."""

from django.db import migrations, models

_FORGET = """
    DELETE FROM syncs_bucketdigest;
    UPDATE syncs_confirmation SET basis = '' WHERE basis <> ''"""


class Migration(migrations.Migration):
    dependencies = [("syncs", "0010_since_when")]
    operations = [
        migrations.RunSQL(_FORGET, _FORGET),
        migrations.AlterField(
            "bucketdigest",
            "sum",
            models.BigIntegerField(help_text="of the hashes' higher halves"),
        ),
    ]
