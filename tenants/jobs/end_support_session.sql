-- Ends one support session. One that was not redeemed gets an ended row, so that it never is.
--
-- jti, ghost_id, tenant_id, person, reason, ticket, read_only: as it was issued. ended_by: why.
-- The first end counts: a further one changes nothing.
INSERT INTO rainbo_support_sessions AS known (
    jti, ghost_id, tenant_id, person, reason, ticket, read_only, ends_at, ended_at, ended_by
)
VALUES (
    %(jti)s::uuid, %(ghost_id)s::text, %(tenant_id)s::text, %(person)s::text, %(reason)s::text,
    %(ticket)s::text, %(read_only)s::boolean, now(), now(), %(ended_by)s::text
)
    ON CONFLICT (jti) DO UPDATE
   SET ended_at = excluded.ended_at, ended_by = excluded.ended_by
 WHERE known.ended_at IS NULL;
