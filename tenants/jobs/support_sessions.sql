-- How support sessions went on this instance: see docs/support-access.md.
SELECT jti AS id, ghost_id, tenant_id, redeemed_at, ends_at, active_at, requests, blocked, ended_at,
       ended_by, refused, refused_at
  FROM rainbo_support_sessions
