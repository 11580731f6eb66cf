"""Ends all sessions, whose keys were stored in clear, and drops the cache, which held pickles."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("rainbo", "0001_second_factors_and_grants"),
        ("sessions", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL("DELETE FROM django_session", migrations.RunSQL.noop),
        migrations.RunSQL("DROP TABLE IF EXISTS rainbo_cache", migrations.RunSQL.noop),
    ]
