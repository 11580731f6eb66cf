"""The schema `reporting`: views for SQL readers, whose columns docs/sql.md describes.

A view keeps its columns: a later migration that renames or retypes what one reads drops the view,
changes the table and creates the view again, with a new column after the others.
"""

from django.db import migrations

VIEWS = {
    "instances": """
SELECT id AS instance_id, name, "group", labels, is_active, is_master, health, last_check_at,
       latency_ms, server_version
  FROM public.rds_instances
""",
    "tenants": """
SELECT tenant.id, tenant.instance_id, instance.name AS instance, tenant.remote_id AS tenant_id,
       tenant.name, tenant.status, tenant.contact_name, tenant.contact_email,
       tenant.trial_ends_at, tenant.subscription_started_at, tenant.user_count,
       tenant.location_count, tenant.last_activity_at, tenant.vanished_at,
       tenant.cache_refreshed_at AS confirmed_at
  FROM public.tenant_master AS tenant
  JOIN public.rds_instances AS instance ON instance.id = tenant.instance_id
""",
    "routes": """
SELECT route.source_id AS route_id, route.email, route.email_key,
       public.rainbo_instance_id(route.remote_instance_id) AS instance_id,
       route.remote_tenant_id AS tenant_id, route.remote_user_id AS user_id, route.user_name,
       route.status, route.changed_at,
       (SELECT max(at) FROM public.syncs_confirmation WHERE sync = 'user_routing') AS confirmed_at
  FROM public.user_routes AS route
 WHERE route.withheld_reason IS NULL
""",
    "tenant_counts": """
SELECT tenant_id AS id, day, user_count, location_count FROM public.tenant_daily_counts
""",
    "tenant_changes": """
SELECT tenant_id AS id, kind, before, after, at FROM public.tenant_changes
""",
    "runs": """
SELECT id AS run_id, sync, state, trigger, attempt, slot AS scheduled_at, created_at, started_at,
       finished_at, seconds
  FROM public.syncs_syncrun
""",
    "confirmations": """
SELECT sync, target, at AS confirmed_at, rows FROM public.syncs_confirmation
""",
}


class Migration(migrations.Migration):
    dependencies = [
        ("rainbo", "0002_no_keys_and_pickles_at_rest"),
        ("syncs", "0021_keys_of_workers"),
        ("tenants", "0015_forged_sessions_roles_and_mail"),
    ]
    operations = [
        migrations.RunSQL("CREATE SCHEMA reporting", "DROP SCHEMA reporting"),
        *(
            migrations.RunSQL(
                f"CREATE VIEW reporting.{name} AS {query}", f"DROP VIEW reporting.{name}"
            )
            for name, query in VIEWS.items()
        ),
    ]
