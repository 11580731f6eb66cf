"""How user_routes is kept, by what `make bench-bloat` and a replay of its writes showed.

Each index serves a query: see "What the routes' table holds" in docs/how-a-sync-works.md. The one
that is dropped was made by Django beside the primary key, for prefixes in collations other than C;
here the primary key is in C and answers them itself.

Autovacuum comes after 5 % of dead rows, not 20 %: over a thousand syncs at 0.1 % churn of 100,000
rows, table and indexes grew by 10.5 % instead of 13 %; at 2 % they grew by 9.7 %, for more than
twice the vacuums. A fill factor of 90 was tried and left out: all was larger when fresh (31.0 MB,
not 29.2) and after the thousand syncs (33.9 MB, not 32.3).
"""

from django.db import migrations

LIKE = "user_routes_source_id_fded4036_like"


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_withheld_routes")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE user_routes SET (autovacuum_vacuum_scale_factor = 0.05)",
            "ALTER TABLE user_routes RESET (autovacuum_vacuum_scale_factor)",
        ),
        migrations.RunSQL(
            f"DROP INDEX IF EXISTS {LIKE}",
            f"CREATE INDEX IF NOT EXISTS {LIKE} ON user_routes (source_id text_pattern_ops)",
        ),
    ]
