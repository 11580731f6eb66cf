-- The tenants of one instance with their counts. Ghost users never count; a count that can't be
-- known is NULL.
SELECT tenants.id, tenants.name, tenants.status,
       tenants.primary_contact_name, tenants.primary_contact_email,
       tenants.trial_ends_at, tenants.subscription_started_at,
       coalesce(people.active, 0) AS user_count,
       coalesce(places.places, 0) AS location_count,
       people.last_login_at AS last_activity_at
  FROM tenants
  LEFT JOIN (
        SELECT tenant_id, count(*) FILTER (WHERE status = 'Active') AS active,
               max(last_login_at) AS last_login_at
          FROM users
         WHERE is_ghost_admin IS NOT TRUE
         GROUP BY tenant_id
       ) AS people ON people.tenant_id = tenants.id
  LEFT JOIN (
        SELECT tenant_id, count(*) AS places FROM locations GROUP BY tenant_id
       ) AS places ON places.tenant_id = tenants.id
